/*
 * restore_log.c (edge) - see restore_log.h.
 *
 *     log    crc 0 | metadata | snapshot 0,0 | ConfChange per member | state | snapshot N,1
 *     .snap  crc | raftpb.Snapshot { v2 JSON, conf state, index N, term 1 }
 *
 * Both are byte-equal to what etcdutl 3.5 writes for the same members, the history of the old v2
 * store included: 1000 places, of which the creation of each member takes one (formats.md 6.2).
 */
#include "common/storage/restore_log.h"
#include "common/base/limits.h"
#include "common/schema/raftmsg.h"
#include "common/storage/snapfile.h"
#include "common/storage/wal.h"

#include <stdio.h>

#define V2_HISTORY 1000U
#define V2_MAX_BYTES (64 * MIB) /* members are limited in number and size */
#define CONTEXT_MAX_BYTES (256 * KIB)

/* ---- the v2 text ---- */

static void json_text(struct buf *out, struct slice text)
{
    buf_append_byte(out, '"');
    for (size_t i = 0; i < text.size;
         i++) { /* it is JSON: nothing but these two is left to escape */
        if (text.data[i] == '"' || text.data[i] == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, text.data[i]);
    }
    buf_append_byte(out, '"');
}

/* A node up to its value; path and index as given. */
static void node_head(struct buf *out, const char *path, const char *rest, size_t index)
{
    buf_printf(out,
               "{\"Path\":\"%s%s\",\"CreatedIndex\":%zu,\"ModifiedIndex\":%zu,"
               "\"ExpireTime\":\"0001-01-01T00:00:00Z\",\"Value\":",
               path, rest, index, index);
}

static void member_node(struct buf *out, const struct member *member, size_t index)
{
    struct buf value = BUF_INIT(CONTEXT_MAX_BYTES);
    char path[64];

    (void)snprintf(path, sizeof(path), "/0/members/%" PRIx64, member->id);
    buf_printf(out, "\"%" PRIx64 "\":", member->id);
    node_head(out, path, "", index);
    buf_append_text(out, "\"\",\"Children\":{\"raftAttributes\":");
    node_head(out, path, "/raftAttributes", index);
    out->overflow |= !member_write_raft_attributes(member, &value);
    json_text(out, buf_slice(&value));
    buf_append_text(out, ",\"Children\":null}}}");
    buf_free(&value);
}

static void member_event(struct buf *out, const struct member *member, size_t index)
{
    struct buf value = BUF_INIT(CONTEXT_MAX_BYTES);

    out->overflow |= !member_write_raft_attributes(member, &value);
    buf_printf(out,
               "{\"action\":\"create\",\"node\":{\"key\":\"/0/members/%" PRIx64
               "/raftAttributes\",\"value\":",
               member->id);
    json_text(out, buf_slice(&value));
    buf_printf(out, ",\"modifiedIndex\":%zu,\"createdIndex\":%zu}}", index, index);
    buf_free(&value);
}

struct by_text { /* JSON objects are sorted by the hexadecimal text, not by the number */
    char id[17];
    size_t at;
};

static int by_text_order(const void *left, const void *right)
{
    const struct by_text *a = left, *b = right;

    return strcmp(a->id, b->id);
}

static void v2_nodes(const struct bootstrap *bootstrap, struct buf *out)
{
    struct by_text order[RAFT_MEMBERS_MAX];
    size_t count = bootstrap->member_count;

    for (size_t i = 0; i < count; i++) {
        (void)snprintf(order[i].id, sizeof(order[i].id), "%" PRIx64, bootstrap->members[i].id);
        order[i].at = i;
    }
    qsort(order, count, sizeof(order[0]), by_text_order);
    buf_append_text(out, "{\"Root\":");
    node_head(out, "/", "", 0);
    buf_append_text(out, "\"\",\"Children\":{\"0\":");
    node_head(out, "/0", "", 0);
    buf_append_text(out, "\"\",\"Children\":{\"members\":");
    node_head(out, "/0/members", "", 1);
    buf_append_text(out, "\"\",\"Children\":{");
    for (size_t i = 0; i < count; i++) {
        buf_append_text(out, i == 0 ? "" : ",");
        member_node(out, &bootstrap->members[order[i].at], order[i].at + 1);
    }
    buf_append_text(out, "}}}},\"1\":");
    node_head(out, "/1", "", 0);
    buf_append_text(out, "\"\",\"Children\":{}}}}");
}

static void v2_history(const struct bootstrap *bootstrap, struct buf *out)
{
    size_t count = bootstrap->member_count;

    buf_append_text(out, ",\"WatcherHub\":{\"EventHistory\":{\"Queue\":{\"Events\":[");
    for (size_t i = 0; i < V2_HISTORY; i++) {
        buf_append_text(out, i == 0 ? "" : ",");
        if (i < count)
            member_event(out, &bootstrap->members[i], i + 1);
        else
            buf_append_text(out, "null");
    }
    buf_printf(out,
               "],\"Size\":%zu,\"Front\":0,\"Back\":%zu,\"Capacity\":%u},\"StartIndex\":1,"
               "\"LastIndex\":%zu}},\"CurrentIndex\":%zu,\"Stats\":{\"getsSuccess\":0,\"getsFail\":"
               "0,\"setsSuccess\":0,\"setsFail\":0,\"deleteSuccess\":0,\"deleteFail\":0,"
               "\"updateSuccess\":0,\"updateFail\":0,\"createSuccess\":%zu,\"createFail\":0,"
               "\"compareAndSwapSuccess\":0,\"compareAndSwapFail\":0,\"compareAndDeleteSuccess\":0,"
               "\"compareAndDeleteFail\":0,\"expireCount\":0,\"watchers\":0},\"CurrentVersion\":2}",
               count, count, V2_HISTORY, count, count, count);
}

/* ---- the .snap file ---- */

static int too_large(struct err *err)
{
    err_set(err, ERR_USAGE,
            "names and URLs of --initial-cluster are too large to be stored; shorten them");
    return -1;
}

static int write_snap(const struct bootstrap *bootstrap, const struct raft_conf_state *conf_state,
                      const char *directory, struct err *err)
{
    struct buf text = BUF_INIT(V2_MAX_BYTES);
    struct raft_snapshot snapshot = {.meta = {.conf_state = *conf_state,
                                              .index = bootstrap->member_count,
                                              .term = RESTORE_TERM}};
    int rc = -1;

    v2_nodes(bootstrap, &text);
    v2_history(bootstrap, &text);
    snapshot.data = buf_slice(&text);
    if (text.overflow)
        (void)too_large(err);
    else
        rc = snapfile_save(fs_posix(), directory, &snapshot, NULL, err);
    buf_free(&text);
    return rc;
}

/* ---- the log ---- */

/* One entry that adds `member`; its bytes are appended to `data`, which must not move any more. */
static bool member_entry(const struct member *member, size_t index, struct buf *data,
                         struct raft_entry *entry)
{
    struct buf context = BUF_INIT(CONTEXT_MAX_BYTES);
    struct raft_conf_change change = {.type = RAFT_CONF_ADD_NODE, .node_id = member->id};
    size_t at = data->size;
    bool fits = member_write_json(member, false, &context);

    change.context = buf_slice(&context);
    fits = fits && raft_conf_change_encode(&change, data);
    buf_free(&context);
    *entry = (struct raft_entry){.type = RAFT_ENTRY_CONF_CHANGE,
                                 .term = RESTORE_TERM,
                                 .index = index,
                                 .data = slice_of(data->data + at, data->size - at)};
    return fits;
}

static int append_all(const struct bootstrap *bootstrap, const struct raft_conf_state *conf_state,
                      struct wal *wal, struct err *err)
{
    size_t count = bootstrap->member_count;
    struct raft_entry entries[RAFT_MEMBERS_MAX];
    /* the vote is etcdutl's: the smallest id, whoever restores (formats.md 3.4) */
    struct raft_hard_state state = {
        .term = RESTORE_TERM, .vote = bootstrap->members[0].id, .commit = count};
    struct wal_snapshot mark = {.index = count, .term = RESTORE_TERM, .conf_state = conf_state};
    struct buf data = BUF_INIT(RAFT_MEMBERS_MAX * (CONTEXT_MAX_BYTES + KIB));
    int rc = -1;

    must(buf_reserve(&data, count * (CONTEXT_MAX_BYTES + KIB)) != NULL);
    for (size_t i = 0; i < count; i++) {
        if (!member_entry(&bootstrap->members[i], i + 1, &data, &entries[i])) {
            (void)too_large(err);
            goto out;
        }
    }
    if (wal_append(wal, &state, entries, count, err) == 0 && wal_sync(wal, err) == 0)
        rc = wal_snapshot_record(wal, &mark, err);
out:
    buf_free(&data);
    return rc;
}

int restore_log_write(const struct bootstrap *bootstrap, const char *snap_dir, const char *wal_dir,
                      struct err *err)
{
    struct wal_config config = {.fs = fs_posix(), .dir = wal_dir};
    struct wal_metadata metadata = {.node_id = bootstrap->members[bootstrap->self].id,
                                    .cluster_id = bootstrap->cluster_id};
    struct raft_conf_state *conf_state = xalloc(sizeof(*conf_state));
    struct wal *wal = NULL;
    int rc = -1;

    must(bootstrap->member_count != 0 && bootstrap->member_count <= RAFT_MEMBERS_MAX);
    conf_state->voter_count = bootstrap->member_count;
    for (size_t i = 0; i < bootstrap->member_count; i++)
        conf_state->voters[i] = bootstrap->members[i].id;
    if (write_snap(bootstrap, conf_state, snap_dir, err) == 0 &&
        wal_create(&config, &metadata, &wal, err) == 0)
        rc = append_all(bootstrap, conf_state, wal, err);
    wal_close(wal);
    free(conf_state);
    return rc;
}
