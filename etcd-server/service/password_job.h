/*
 * password_job.h - a password hashed or checked on a pool thread for a call that waits. At most
 * PASSWORD_JOBS_MAX at once, so that strangers who guess passwords cannot fill the pool; those
 * above wait for their turn, as in etcd, until too many do. Thread: core; the work itself on the
 * pool, with copies of its own.
 */
#ifndef ETCD_SERVER_SERVICE_PASSWORD_JOB_H
#define ETCD_SERVER_SERVICE_PASSWORD_JOB_H

#include "etcd-server/service/password.h"
#include "etcd-server/service/service_internal.h"

struct password_job;
/* ERR_OK: job->hash is there, or the password was right. Not called when the caller went away. */
typedef void password_job_fn(struct password_job *job, enum err_code code);

/* Lies in the arena of the call; set call->state by hand only after `done`. */
struct password_job {
    struct service *service;
    struct call *call;
    password_job_fn *done;
    char hash[PASSWORD_HASH_BYTES]; /* what password_job_hash() made */
};

/*
 * Both take the call's cancel hook until `done`, which may run before they return, with
 * ERR_REQUEST_TOO_MANY_REQUESTS.
 */
void password_job_hash(struct service *service, struct call *call, struct password_job *job,
                       const char *password, password_job_fn *done);
/* An empty `hash` matches no password but takes as long: how long tells nobody which users exist.
 * ERR_AUTH_FAILED: it does not match. */
void password_job_check(struct service *service, struct call *call, struct password_job *job,
                        const char *password, struct slice hash, password_job_fn *done);

#endif
