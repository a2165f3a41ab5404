/*
 * life.h - what the verbs after the first day share: certificates made again in memory, all of
 * them, before any file is touched. Thread: main.
 * Errors: those of store.h and scan.h; ERR_USAGE what was asked, ERR_MISSING what is not there.
 */
#ifndef ETCD_PKI_LIFE_H
#define ETCD_PKI_LIFE_H

#include "etcd-pki/scan.h"
#include "etcd-pki/store.h"

struct fresh { /* a certificate made again; all owned */
    char *base, *name;
    bool made; /* with a key of its own */
    struct x509_key *key;
    struct x509_list certs; /* then what followed it in the old file */
};
struct renewal {
    const struct settings *settings;
    const char *dir;
    int64_t now_s, not_before_s, end_s;
    enum x509_algorithm kind;
    bool kind_given, reuse_key;
    unsigned usages; /* 0: those of the old one */
    struct fresh *items;
    size_t count;
    size_t left, unreadable; /* of all: not to be renewed here; of these, not to be read */
    struct ca_ring cas;
};

/* Dates and kind of key from the command line; ca: the defaults of a CA. */
int renewal_init(struct renewal *renewal, const struct settings *settings, bool ca,
                 struct err *err) MUST_CHECK;
/* Make one again, signed by its CA (the first certificate of that file); nothing is written. */
int renewal_add(struct renewal *renewal, const struct entry *entry, struct err *err) MUST_CHECK;
int renewal_write(struct renewal *renewal, struct err *err) MUST_CHECK; /* and say so */
void renewal_free(struct renewal *renewal);
/* What an earlier run that was killed has left is put right; to be called under the lock. */
int renewal_heal(const struct settings *settings, const char *dir, struct err *err) MUST_CHECK;
struct store renewal_store(const struct renewal *renewal);

/* The CA of that name, or etcd's, with its key; borrowed. NULL: err says why. */
const struct entry *scan_ca(const struct scan *scan, const char *name, struct err *err);
/* The same, to be made again by itself: one that another CA has issued is refused. */
const struct entry *scan_root_ca(const struct scan *scan, const char *name, struct err *err);

/* ---- rotation.json (rotation_dates.c) ---- */

struct rotation_dates {
    char prepared[32], switched[32]; /* "2027-11-22T01:42:28Z"; "" unknown */
};
void rotation_dates_read(const char *dir, const char *base, struct rotation_dates *dates);
/* dates NULL: forget that CA. */
int rotation_dates_write(const char *dir, const char *base, const struct rotation_dates *dates,
                         struct err *err) MUST_CHECK;

/* ---- endpoints (cmd_probe.c) ---- */

struct probe_target {  /* "https://HOST:PORT", also without scheme; the port is 2379 unless given */
    const char *url;   /* borrowed */
    char *host, *port; /* owned */
};
int probe_target_parse(const char *url, struct probe_target *target, struct err *err) MUST_CHECK;
void probe_target_free(struct probe_target *target);
/* A connected, blocking socket whose reads and writes end after the timeout. */
int probe_dial(const struct probe_target *target, int64_t timeout_s, int *fd,
               struct err *err) MUST_CHECK;
/* What an answer to a request for /version says against the caller; owned. NULL: nothing. */
char *probe_refusal(const struct x509_seen *seen);

#endif
