/*
 * leftover.h (edge) - what is not finished when a signal ends the program is removed before.
 *
 * SIGHUP, SIGINT and SIGTERM are blocked in the caller, and in the threads that it starts from then
 * on; a thread of its own waits for them. When one comes it removes what is named here, then the
 * program ends of that signal as if nobody had caught it: a shell sees 128 and its number. What the
 * program was told to ignore (nohup) stays ignored. A NULL `leftover` does nothing.
 * Thread: one, the one that began it.
 */
#ifndef COMMON_BASE_LEFTOVER_H
#define COMMON_BASE_LEFTOVER_H

#include "common/base/err.h"
#include "common/base/file.h"

#define LEFTOVER_MAX 4 /* things named at a time */

struct leftover;

int leftover_begin(struct leftover **leftover, struct err *err) MUST_CHECK; /* one in a process */
/* The signals do again what they did; one that came removes what is named first. */
void leftover_end(struct leftover *leftover);

/* What happens between these two happens before a signal, or not at all. Not nested. */
void leftover_hold(struct leftover *leftover);
void leftover_release(struct leftover *leftover);

/* While held: `path` (copied), a file or a directory with all in it, is not finished; or it is. */
void leftover_add(struct leftover *leftover, const char *path);
/* While held: these (copied) were made for it, and go after it if there is nothing in them then. */
void leftover_add_dirs(struct leftover *leftover, const struct file_dirs *dirs);
void leftover_forget(struct leftover *leftover, const char *path); /* NULL or not named: is fine */

#endif
