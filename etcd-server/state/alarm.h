/* alarm.h - which member raised which alarm; bucket `alarm` (formats.md 2.5, api.md 10.3). Pure.
 * Thread: core. */
#ifndef ETCD_SERVER_STATE_ALARM_H
#define ETCD_SERVER_STATE_ALARM_H

#include "common/base/arena.h"
#include "common/schema/rpc.pb-c.h"
#include "common/storage/backend.h"
#include "common/storage/batch.h"

struct alarm_store;

struct alarm_store *alarm_store_new(void);
void alarm_store_free(struct alarm_store *alarms);
int alarm_store_restore(struct alarm_store *alarms, struct backend_read *read,
                        struct err *err) MUST_CHECK;

/* Raised by any member. */
bool alarm_active(const struct alarm_store *alarms, Etcdserverpb__AlarmType type);
/* Raised for this member. */
bool alarm_names(const struct alarm_store *alarms, uint64_t member, Etcdserverpb__AlarmType type);
size_t alarm_count(const struct alarm_store *alarms);
/* The n-th alarm, in order of member and kind. */
Etcdserverpb__AlarmMember alarm_at(const struct alarm_store *alarms, size_t position);

/* Carry out one AlarmRequest; what it changes goes to `batch`. `arena` NULL: no answer is built. */
enum err_code alarm_apply(struct alarm_store *alarms, const Etcdserverpb__AlarmRequest *request,
                          struct batch *batch, struct arena *arena,
                          Etcdserverpb__AlarmResponse **response) MUST_CHECK;

#endif
