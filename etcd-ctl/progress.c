/* progress.c - see progress.h. The line's shape is etcdctl's. */
#include "etcd-ctl/progress.h"

#include "common/base/duration.h"
#include "common/client/print.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TEXT_COLUMNS 64 /* counts, percent and time: a bar has what is left of the width */
#define BAR_MIN_COLUMNS 10

int progress_width(void)
{
    struct winsize size;

    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        return 0;
    return size.ws_col;
}

/* "Booooom    !" */
static void bar(struct buf *out, uint64_t done, uint64_t total, int width)
{
    int columns = width - TEXT_COLUMNS, full;

    if (columns < BAR_MIN_COLUMNS)
        return;
    full = (int)(done * (uint64_t)columns / total);
    buf_append_text(out, " B");
    for (int i = 0; i < columns; i++)
        buf_append_byte(out, i + 1 < full ? 'o' : i + 1 == full ? 'm' : ' ');
    buf_append_byte(out, '!');
}

static void counts(struct buf *out, uint64_t done, uint64_t total, int width)
{
    buf_printf(out, "\r %" PRIu64 " / %" PRIu64, done, total);
    bar(out, done, total, width);
    buf_printf(out, "  %6.2f%%", 100.0 * (double)done / (double)total);
}

void progress_line(struct buf *out, uint64_t done, uint64_t total, int64_t elapsed_ms, int width)
{
    int64_t left_s = 0;

    must(total > 0 && done <= total);
    counts(out, done, total, width);
    if (done > 0)
        left_s = (int64_t)((double)elapsed_ms / (double)done * (double)(total - done)) / 1000;
    if (left_s >= 3600)
        buf_printf(out, " %02" PRId64 "h", left_s / 3600);
    if (left_s > 0)
        buf_printf(out, "%s%02" PRId64 "m%02" PRId64 "s", left_s >= 3600 ? "" : " ",
                   left_s / 60 % 60, left_s % 60);
    else if (width > 0)
        buf_append_text(out, "       "); /* over the time before */
}

void progress_end(struct buf *out, uint64_t total, int64_t elapsed_ms, int width)
{
    counts(out, total, total, width);
    buf_append_byte(out, ' ');
    print_duration(out, elapsed_ms / 1000 * NS_PER_S);
    buf_append_text(out, width > 0 ? "   \n" : "\n");
}
