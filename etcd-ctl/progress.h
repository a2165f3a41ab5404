/*
 * progress.h - the progress line of `check`: on standard output, rewritten in place, with a bar on
 * a terminal that is wide enough. Thread: main.
 */
#ifndef ETCD_CTL_PROGRESS_H
#define ETCD_CTL_PROGRESS_H

#include "common/base/buf.h"

#define PROGRESS_EVERY_MS 200

/*
 * "\r 812 / 10000    8.12% 00m02s": what is done, in percent, and how long the rest will take.
 * width  columns of the terminal; 0 = none, no bar
 */
void progress_line(struct buf *out, uint64_t done, uint64_t total, int64_t elapsed_ms, int width);
/* The last one: all of it is done, in so much time; ends the line. */
void progress_end(struct buf *out, uint64_t total, int64_t elapsed_ms, int width);
/* Columns of the terminal that standard output is; 0 when it is none. */
int progress_width(void);

#endif
