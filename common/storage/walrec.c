/* walrec.c - see walrec.h. */
#include "common/storage/walrec.h"
#include "common/base/crc32c.h"
#include "common/schema/pbwire.h"

#define FIELD_INSTALLED 15 /* of walpb.Snapshot; ours */

#define PADDING_MARK 0x80U

struct wal_frame_length wal_frame_length(const uint8_t bytes[WAL_LENGTH_BYTES])
{
    struct wal_frame_length length = {0};

    for (unsigned at = WAL_LENGTH_BYTES - 1; at-- > 0;)
        length.record_bytes = length.record_bytes << 8 | bytes[at];
    if ((bytes[WAL_LENGTH_BYTES - 1] & PADDING_MARK) != 0)
        length.padding = bytes[WAL_LENGTH_BYTES - 1] & 7;
    return length;
}

static uint8_t *put_length(uint8_t *at, uint64_t record_bytes, unsigned padding)
{
    for (unsigned byte = 0; byte < WAL_LENGTH_BYTES - 1; byte++)
        *at++ = (uint8_t)(record_bytes >> (8 * byte));
    *at++ = padding != 0 ? (uint8_t)(PADDING_MARK | padding) : 0;
    return at;
}

bool wal_frame_append(struct buf *out, enum wal_record_type type, struct slice data, uint32_t *crc)
{
    uint32_t next = type == WAL_CRC ? *crc : crc32c(*crc, data.data, data.size);
    size_t bytes = 1 + pb_varint_bytes(type) + 1 + pb_varint_bytes(next) +
                   (type == WAL_CRC ? 0 : pb_bytes_field_bytes(data.size));
    unsigned padding = (unsigned)(-bytes & 7);
    uint8_t *room = buf_reserve(out, WAL_LENGTH_BYTES + bytes + padding), *at;

    if (room == NULL)
        return false;
    at = put_length(room, bytes, padding);
    at = pb_put_u64(at, 1, type);
    at = pb_put_u64(at, 2, next);
    if (type != WAL_CRC)
        at = pb_put_bytes(at, 3, data);
    must(at == room + WAL_LENGTH_BYTES + bytes);
    memset(at, 0, padding);
    buf_advance(out, WAL_LENGTH_BYTES + bytes + padding);
    *crc = next;
    return true;
}

int wal_record_decode(struct slice bytes, struct wal_record *record, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "walpb.Record");
    struct pb_field field;
    uint64_t type = 0, crc = 0;
    int more = 0, rc = 0;

    *record = (struct wal_record){0};
    while (rc == 0 && (more = pb_next(&reader, &field, err)) > 0)
        switch (field.number) {
        case 1:
            rc = pb_expect(&reader, &field, PB_VARINT, err);
            type = field.value;
            break;
        case 2:
            rc = pb_expect(&reader, &field, PB_VARINT, err);
            crc = field.value;
            break;
        case 3:
            rc = pb_expect(&reader, &field, PB_BYTES, err);
            record->data = field.bytes;
            break;
        }
    if (more < 0 || rc < 0)
        return -1;
    if (type < WAL_METADATA || type > WAL_SNAPSHOT || crc > UINT32_MAX) {
        err_set(err, ERR_FORMAT,
                "walpb.Record: type %" PRIu64 " with checksum %" PRIu64 " is no record of a log",
                type, crc);
        return -1;
    }
    record->type = (enum wal_record_type)type;
    record->crc = (uint32_t)crc;
    return 0;
}

bool wal_metadata_encode(const struct wal_metadata *metadata, struct buf *out)
{
    uint8_t bytes[2 * (1 + PB_VARINT_MAX)];
    uint8_t *end = pb_put_u64(pb_put_u64(bytes, 1, metadata->node_id), 2, metadata->cluster_id);

    return buf_append(out, bytes, (size_t)(end - bytes));
}

/* Two numbers, fields 1 and 2; `conf_state` takes field 3. What is NULL is passed over. */
static int decode_pair(struct pb_reader *reader, uint64_t *one, uint64_t *two,
                       struct raft_conf_state *conf_state, bool *installed, struct err *err)
{
    struct pb_field field;
    int more = 0, rc = 0;

    while (rc == 0 && (more = pb_next(reader, &field, err)) > 0)
        switch (field.number) {
        case 1:
            rc = pb_expect(reader, &field, PB_VARINT, err);
            *one = field.value;
            break;
        case 2:
            rc = pb_expect(reader, &field, PB_VARINT, err);
            *two = field.value;
            break;
        case 3:
            if (conf_state == NULL)
                break;
            rc = pb_expect(reader, &field, PB_BYTES, err);
            if (rc == 0)
                rc = raft_conf_state_decode(field.bytes, conf_state, err);
            break;
        case FIELD_INSTALLED:
            if (installed == NULL)
                break;
            rc = pb_expect(reader, &field, PB_VARINT, err);
            *installed = field.value != 0;
            break;
        }
    return more < 0 ? -1 : rc;
}

int wal_metadata_decode(struct slice bytes, struct wal_metadata *metadata, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "walpb.Metadata");

    *metadata = (struct wal_metadata){0};
    return decode_pair(&reader, &metadata->node_id, &metadata->cluster_id, NULL, NULL, err);
}

bool wal_snapshot_encode(const struct wal_snapshot *snapshot, struct buf *out)
{
    uint8_t bytes[2 * (1 + PB_VARINT_MAX) + 1 + PB_VARINT_MAX];
    uint8_t *end = pb_put_u64(pb_put_u64(bytes, 1, snapshot->index), 2, snapshot->term);
    struct buf conf = BUF_INIT(BUF_UNLIMITED);
    uint8_t installed[1 + PB_VARINT_MAX];
    bool fits;

    if (snapshot->conf_state == NULL)
        return buf_append(out, bytes, (size_t)(end - bytes));
    fits = raft_conf_state_encode(snapshot->conf_state, &conf);
    end = pb_put_header(end, 3, buf_used(&conf));
    fits = fits && buf_append(out, bytes, (size_t)(end - bytes)) &&
           buf_append_slice(out, buf_slice(&conf));
    buf_free(&conf);
    if (snapshot->installed)
        fits = fits && buf_append(out, installed,
                                  (size_t)(pb_put_u64(installed, FIELD_INSTALLED, 1) - installed));
    return fits;
}

int wal_snapshot_decode(struct slice bytes, struct wal_snapshot *snapshot,
                        struct raft_conf_state *conf_state, struct err *err)
{
    struct pb_reader reader = pb_reader_of(bytes, "walpb.Snapshot");

    *snapshot = (struct wal_snapshot){.conf_state = conf_state};
    if (conf_state != NULL)
        *conf_state = (struct raft_conf_state){0};
    return decode_pair(&reader, &snapshot->index, &snapshot->term, conf_state, &snapshot->installed,
                       err);
}
