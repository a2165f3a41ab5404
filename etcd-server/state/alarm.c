/* alarm.c - see alarm.h. A sorted array: there are a handful of members and two kinds. */
#include "common/base/base.h"
#include "etcd-server/state/alarm.h"

struct alarm {
    uint64_t member;
    Etcdserverpb__AlarmType type;
};

struct alarm_store {
    struct alarm alarms[ALARMS_MAX];
    size_t count;
};

struct alarm_store *alarm_store_new(void)
{
    return xalloc(sizeof(struct alarm_store));
}

void alarm_store_free(struct alarm_store *alarms)
{
    free(alarms);
}

/* Position of the first alarm not before (member, type). */
static size_t place(const struct alarm_store *alarms, uint64_t member, Etcdserverpb__AlarmType type)
{
    size_t at = 0;

    while (at < alarms->count &&
           (alarms->alarms[at].member < member ||
            (alarms->alarms[at].member == member && alarms->alarms[at].type < type)))
        at++;
    return at;
}

static bool is_at(const struct alarm_store *alarms, size_t at, uint64_t member,
                  Etcdserverpb__AlarmType type)
{
    return at < alarms->count && alarms->alarms[at].member == member &&
           alarms->alarms[at].type == type;
}

static bool insert(struct alarm_store *alarms, size_t at, uint64_t member,
                   Etcdserverpb__AlarmType type)
{
    if (alarms->count == ALARMS_MAX)
        return false;
    memmove(alarms->alarms + at + 1, alarms->alarms + at,
            (alarms->count - at) * sizeof(struct alarm));
    alarms->alarms[at] = (struct alarm){member, type};
    alarms->count++;
    return true;
}

int alarm_store_restore(struct alarm_store *alarms, struct backend_read *read, struct err *err)
{
    struct backend_cursor *cursor = backend_cursor_open(read, BUCKET_ALARM);
    struct slice key, value;
    int rc = 0;

    for (bool more = backend_cursor_seek(cursor, SLICE_EMPTY, &key, &value); more && rc == 0;
         more = backend_cursor_next(cursor, &key, &value)) {
        Etcdserverpb__AlarmMember *member =
            etcdserverpb__alarm_member__unpack(NULL, key.size, key.data);

        if (member == NULL) {
            err_set(err, ERR_DAMAGED,
                    "bucket alarm: an entry of %zu bytes is no AlarmMember; restore a snapshot",
                    key.size);
            rc = -1;
            break;
        }
        size_t at = place(alarms, member->memberid, member->alarm);
        if (!is_at(alarms, at, member->memberid, member->alarm) &&
            !insert(alarms, at, member->memberid, member->alarm)) {
            err_set(err, ERR_DAMAGED, "bucket alarm: more than %d entries; restore a snapshot",
                    ALARMS_MAX);
            rc = -1;
        }
        etcdserverpb__alarm_member__free_unpacked(member, NULL);
    }
    backend_cursor_close(cursor);
    return rc;
}

bool alarm_active(const struct alarm_store *alarms, Etcdserverpb__AlarmType type)
{
    for (size_t i = 0; i < alarms->count; i++)
        if (alarms->alarms[i].type == type)
            return true;
    return false;
}

bool alarm_names(const struct alarm_store *alarms, uint64_t member, Etcdserverpb__AlarmType type)
{
    return is_at(alarms, place(alarms, member, type), member, type);
}

size_t alarm_count(const struct alarm_store *alarms)
{
    return alarms->count;
}

Etcdserverpb__AlarmMember alarm_at(const struct alarm_store *alarms, size_t position)
{
    Etcdserverpb__AlarmMember member = ETCDSERVERPB__ALARM_MEMBER__INIT;

    must(position < alarms->count);
    member.memberid = alarms->alarms[position].member;
    member.alarm = alarms->alarms[position].type;
    return member;
}

/* The bucket's key is the message itself; its value is empty. */
static size_t encode(uint64_t member, Etcdserverpb__AlarmType type, uint8_t out[32])
{
    Etcdserverpb__AlarmMember message = ETCDSERVERPB__ALARM_MEMBER__INIT;

    message.memberid = member;
    message.alarm = type;
    return etcdserverpb__alarm_member__pack(&message, out);
}

/* The alarms of `type` (NONE: all), or only the one of `only`, as the answer. */
static enum err_code answer(const struct alarm_store *alarms, Etcdserverpb__AlarmType type,
                            const struct alarm *only, struct arena *arena,
                            Etcdserverpb__AlarmResponse **response)
{
    Etcdserverpb__AlarmResponse *message = arena_alloc(arena, sizeof(*message));
    Etcdserverpb__ResponseHeader *header = arena_alloc(arena, sizeof(*header));
    size_t most = only != NULL ? 1 : alarms->count;
    Etcdserverpb__AlarmMember *members = arena_alloc(arena, most * sizeof(*members));
    Etcdserverpb__AlarmMember **list = arena_alloc(arena, most * sizeof(*list));

    if (message == NULL || header == NULL || members == NULL || list == NULL)
        return ERR_REQUEST_TOO_LARGE;
    etcdserverpb__alarm_response__init(message);
    etcdserverpb__response_header__init(header);
    message->header = header;
    message->alarms = list;
    for (size_t i = 0; i < most; i++) {
        struct alarm alarm = only != NULL ? *only : alarms->alarms[i];

        if (only == NULL && type != ETCDSERVERPB__ALARM_TYPE__NONE && alarm.type != type)
            continue;
        etcdserverpb__alarm_member__init(&members[i]);
        members[i].memberid = alarm.member;
        members[i].alarm = alarm.type;
        list[message->n_alarms++] = &members[i];
    }
    *response = message;
    return ERR_OK;
}

enum err_code alarm_apply(struct alarm_store *alarms, const Etcdserverpb__AlarmRequest *request,
                          struct batch *batch, struct arena *arena,
                          Etcdserverpb__AlarmResponse **response)
{
    struct alarm asked = {request->memberid, request->alarm};
    size_t at = place(alarms, asked.member, asked.type);
    bool there = is_at(alarms, at, asked.member, asked.type), named = false;
    uint8_t key[32];

    *response = NULL;
    if (request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE &&
        asked.type != ETCDSERVERPB__ALARM_TYPE__NONE) {
        if (!there) {
            if (!insert(alarms, at, asked.member, asked.type))
                return ERR_REQUEST_TOO_MANY_REQUESTS;
            batch_put(batch, BUCKET_ALARM, slice_of(key, encode(asked.member, asked.type, key)),
                      SLICE_EMPTY);
        }
        named = true;
    } else if (request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE) {
        if (there) {
            memmove(alarms->alarms + at, alarms->alarms + at + 1,
                    (alarms->count - at - 1) * sizeof(struct alarm));
            alarms->count--;
            batch_delete(batch, BUCKET_ALARM, slice_of(key, encode(asked.member, asked.type, key)));
            named = true;
        } else if (arena != NULL) { /* nothing to disarm: an empty list */
            static const struct alarm_store none;

            return answer(&none, ETCDSERVERPB__ALARM_TYPE__NONE, NULL, arena, response);
        }
    } else if (request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE &&
               arena != NULL) {
        static const struct alarm_store none;

        return answer(&none, ETCDSERVERPB__ALARM_TYPE__NONE, NULL, arena, response);
    }
    if (arena == NULL)
        return ERR_OK;
    return answer(alarms, asked.type, named ? &asked : NULL, arena, response);
}
