/*
 * bolt_check.c - the integrity rules of formats.md 1.8, for bolt_check() in bolt.h.
 *
 * One walk over every tree marks each page as reached; a page is followed the first time only, so
 * the walk ends whatever the file says. Then the free list, if one is stored, is held against the
 * marks; without one the pages not reached are the free ones by definition.
 */
#include "common/storage/bolt.h"
#include "common/storage/bolt_page.h"

#include <stdarg.h>
#include <stdio.h>

#define BUCKET_NESTING_MAX 4U /* etcd nests once; recursion is bounded by this */

enum mark { MARK_NONE, MARK_REACHED, MARK_FREE };

struct check {
    const struct bolt *bolt;
    struct bolt_info info;
    uint8_t *marks; /* owned; enum mark per page */
    bolt_finding_fn *finding;
    void *arg;
    uint64_t findings;
};

struct step { /* a frame and the interval its keys must lie in */
    struct bolt_frame frame;
    struct slice low;  /* keys >= low; data NULL = none */
    struct slice high; /* keys < high; data NULL = none */
};

static void PRINTF_LIKE(2, 3) report(struct check *check, const char *format, ...)
{
    char text[ERR_TEXT_MAX];
    va_list args;

    if (check->findings++ >= BOLT_FINDINGS_MAX || check->finding == NULL)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args); /* cut when too long */
    va_end(args);
    check->finding(check->arg, text);
}

/* Mark the run of a page; false when some of it was reached before. */
static bool reach(struct check *check, uint64_t id, uint64_t pages)
{
    bool fresh = true;

    for (uint64_t page = id; page < id + pages; page++) {
        if (check->marks[page] != MARK_NONE) {
            report(check, "page %" PRIu64 ": multiple references", page);
            fresh = false;
        }
        check->marks[page] = MARK_REACHED;
    }
    return fresh;
}

static bool enter(struct check *check, uint64_t id, struct step *step)
{
    struct err err = ERR_INIT;

    if (bolt_frame_load(check->bolt, id, &step->frame, &err) < 0) {
        report(check, "%s", err.text);
        return false;
    }
    return reach(check, id, step->frame.bytes / check->info.page_bytes);
}

static void check_key(struct check *check, const struct step *step, struct slice before,
                      struct slice key, bool first)
{
    uint64_t id = step->frame.id;

    if (key.size == 0 || key.size > BOLT_KEY_MAX)
        if (step->frame.leaf || !first || key.size != 0)
            report(check, "page %" PRIu64 ": a key of %zu bytes", id, key.size);
    if (!first && slice_compare(before, key) >= 0)
        report(check, "page %" PRIu64 ": keys not in ascending order", id);
    if (step->low.data != NULL && slice_compare(key, step->low) < 0)
        report(check, "page %" PRIu64 ": a key before the one its parent names", id);
    if (step->high.data != NULL && slice_compare(key, step->high) >= 0)
        report(check, "page %" PRIu64 ": a key not before its parent's next one", id);
}

static void check_tree(struct check *check, const struct bolt_bucket *bucket, unsigned nesting);

static void check_leaf(struct check *check, const struct step *step, unsigned nesting)
{
    struct slice before = SLICE_EMPTY;
    struct bolt_entry entry;
    struct bolt_bucket bucket;
    struct err err = ERR_INIT;

    for (uint32_t at = 0; at < step->frame.count; at++) {
        if (bolt_frame_leaf(check->bolt, &step->frame, at, &entry, &err) < 0) {
            report(check, "%s", err.text);
            return;
        }
        check_key(check, step, before, entry.key, at == 0);
        before = entry.key;
        if (!entry.is_bucket)
            continue;
        if (bolt_bucket_open(check->bolt, &entry, &bucket, &err) < 0)
            report(check, "%s", err.text);
        else if (nesting == BUCKET_NESTING_MAX)
            report(check, "page %" PRIu64 ": buckets nested deeper than %u", step->frame.id,
                   BUCKET_NESTING_MAX);
        else
            check_tree(check, &bucket, nesting + 1);
    }
}

/* Keys of a branch, before its children are followed. */
static bool check_branch(struct check *check, const struct step *step)
{
    struct slice before = SLICE_EMPTY, key;
    struct err err = ERR_INIT;
    uint64_t child;

    for (uint32_t at = 0; at < step->frame.count; at++) {
        if (bolt_frame_branch(check->bolt, &step->frame, at, &key, &child, &err) < 0) {
            report(check, "%s", err.text);
            return false;
        }
        check_key(check, step, before, key, at == 0);
        before = key;
    }
    return true;
}

/* The child the frame stands on, with its interval; its elements were checked by check_branch(). */
static uint64_t child_of(struct check *check, const struct step *step, struct step *below)
{
    struct err err = ERR_INIT;
    struct slice key;
    uint64_t child, unused;

    if (bolt_frame_branch(check->bolt, &step->frame, step->frame.at, &key, &child, &err) < 0)
        return 0;
    below->low = key;
    below->high = step->high;
    if (step->frame.at + 1 < step->frame.count &&
        bolt_frame_branch(check->bolt, &step->frame, step->frame.at + 1, &key, &unused, &err) == 0)
        below->high = key;
    return child;
}

static void check_tree(struct check *check, const struct bolt_bucket *bucket, unsigned nesting)
{
    struct step stack[BOLT_DEPTH_MAX] = {0};
    unsigned depth = 0;
    struct err err = ERR_INIT;

    if (bucket->root == 0) {
        if (bolt_frame_inline(check->bolt, bucket->inline_page, &stack[0].frame, &err) < 0)
            report(check, "%s", err.text);
        else
            check_leaf(check, &stack[0], nesting);
        return;
    }
    if (!enter(check, bucket->root, &stack[0]))
        return;
    depth = 1;
    while (depth != 0) {
        struct step *step = &stack[depth - 1];
        struct bolt_frame *frame = &step->frame;

        if (frame->leaf)
            check_leaf(check, step, nesting);
        else if (frame->at == 0 && !check_branch(check, step))
            frame->at = frame->count;
        if (frame->leaf || frame->at == frame->count) {
            depth--;
            continue;
        }
        if (depth == BOLT_DEPTH_MAX) {
            report(check, "page %" PRIu64 ": deeper than any real tree", frame->id);
            depth--;
            continue;
        }
        if (enter(check, child_of(check, step, &stack[depth]), &stack[depth]))
            depth++;
        frame->at++;
    }
}

static void check_free(struct check *check, uint64_t id)
{
    if (id < BOLT_FIRST_PAGE || id >= check->info.pages)
        report(check, "page %" PRIu64 ": free, but outside the file", id);
    else if (check->marks[id] == MARK_REACHED)
        report(check, "page %" PRIu64 ": reachable freed", id);
    else if (check->marks[id] == MARK_FREE)
        report(check, "page %" PRIu64 ": already freed", id);
    else
        check->marks[id] = MARK_FREE;
}

/* formats.md 1.4: the list, then every page must be reached or free. */
static void check_freelist(struct check *check)
{
    uint64_t id = check->info.freelist, run, count, first = 0;
    const uint8_t *page = bolt_bytes(check->bolt).data + id * check->info.page_bytes;

    run = 1 + (uint64_t)bolt_u32(page + 12);
    count = bolt_u16(page + 10);
    if (bolt_u16(page + 8) != BOLT_FREELIST || bolt_u64(page) != id ||
        run > check->info.pages - id) {
        report(check, "page %" PRIu64 ": not a free list", id);
        return;
    }
    if (count == 0xFFFF) {
        count = bolt_u64(page + BOLT_HEADER_BYTES);
        first = 1;
    }
    if (count > (run * check->info.page_bytes - BOLT_HEADER_BYTES) / 8 - first) {
        report(check, "page %" PRIu64 ": a free list longer than its page", id);
        return;
    }
    (void)reach(check, id, run); /* reported inside */
    for (uint64_t i = 0; i < count; i++)
        check_free(check, bolt_u64(page + BOLT_HEADER_BYTES + 8 * (i + first)));
    for (uint64_t i = BOLT_FIRST_PAGE; i < check->info.pages; i++)
        if (check->marks[i] == MARK_NONE)
            report(check, "page %" PRIu64 ": unreachable unfreed", i);
}

int bolt_check(const struct bolt *bolt, bolt_finding_fn *finding, void *arg, uint64_t *findings,
               struct err *err)
{
    struct check check = {.bolt = bolt, .info = bolt_info(bolt), .finding = finding, .arg = arg};
    struct bolt_bucket root = bolt_root(bolt);

    check.marks = calloc(check.info.pages, 1); /* pages <= file size / page size */
    if (check.marks == NULL) {
        err_set(err, ERR_NO_MEMORY, "no memory to check %" PRIu64 " pages", check.info.pages);
        return -1;
    }
    check_tree(&check, &root, 0);
    if (check.info.freelist != BOLT_NO_FREELIST)
        check_freelist(&check);
    free(check.marks);
    *findings = check.findings;
    return 0;
}
