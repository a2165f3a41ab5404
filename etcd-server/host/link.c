/* link.c - the output of a connection: see link.h. */
#include "etcd-server/host/link.h"

void link_lend(struct link *link, struct shared_slice piece)
{
    struct link_lent *lent = &link->lent;
    size_t before = buf_used(&link->out) - lent->before;

    must(piece.bytes.size != 0);
    if (lent->count == lent->capacity) {
        lent->capacity = MAX(32, lent->capacity * 2);
        lent->all = xrealloc(lent->all, lent->capacity * sizeof(*lent->all));
    }
    lent->all[lent->count++] = (struct link_piece){.before = before, .piece = piece};
    lent->before += before;
    lent->bytes += piece.bytes.size;
}

size_t link_next(const struct link *link, struct slice *slices, size_t most)
{
    const struct link_lent *lent = &link->lent;
    struct slice own = buf_slice(&link->out);
    size_t count = 0, next = lent->first;

    for (; next < lent->count && count + 2 <= most; next++) {
        const struct link_piece *at = &lent->all[next];

        if (at->before != 0) {
            slices[count++] = slice_of(own.data, at->before);
            own = slice_of(own.data + at->before, own.size - at->before);
        }
        slices[count++] = at->piece.bytes;
    }
    if (next == lent->count && own.size != 0 && count < most)
        slices[count++] = own;
    return count;
}

/* Of the first piece; what was taken, at most `bytes`. */
static size_t piece_sent(struct link_lent *lent, size_t bytes)
{
    struct shared_slice *piece = &lent->all[lent->first].piece;
    size_t part = MIN(bytes, piece->bytes.size);

    piece->bytes = slice_of(piece->bytes.data + part, piece->bytes.size - part);
    lent->bytes -= part;
    if (piece->bytes.size == 0) {
        shared_unref(piece->owner);
        lent->first++;
    }
    return part;
}

void link_sent(struct link *link, size_t bytes)
{
    struct link_lent *lent = &link->lent;

    while (bytes != 0 && lent->first < lent->count) {
        size_t *before = &lent->all[lent->first].before, part = MIN(bytes, *before);

        buf_consume(&link->out, part);
        *before -= part;
        lent->before -= part;
        bytes -= part;
        if (bytes != 0)
            bytes -= piece_sent(lent, bytes);
    }
    buf_consume(&link->out, bytes);
    if (lent->first == lent->count)
        lent->first = lent->count = 0;
}

void link_out_reset(struct link *link)
{
    struct link_lent *lent = &link->lent;

    for (size_t i = lent->first; i < lent->count; i++)
        shared_unref(lent->all[i].piece.owner);
    lent->first = lent->count = lent->bytes = lent->before = 0;
    buf_reset(&link->out);
}

void link_out_free(struct link *link)
{
    link_out_reset(link);
    free(link->lent.all);
    link->lent.all = NULL;
    link->lent.capacity = 0;
    buf_free(&link->out);
}
