/*
 * plan.h - the files that a verb is to make. A plan is judged as a whole before anything is
 * written: a set that is there and fits is kept, one that does not fit is described and left alone.
 * Thread: main.
 */
#ifndef ETCD_PKI_PLAN_H
#define ETCD_PKI_PLAN_H

#include "etcd-pki/store.h"

enum item_kind { ITEM_PAIR, ITEM_COPY, ITEM_SERVICE_ACCOUNT, ITEM_TEXT };
struct item { /* texts owned */
    enum item_kind kind;
    bool ca, crl_sign;
    bool any_name; /* a CA that is there may be the operator's: subject, names, key as he chose */
    bool external; /* found: a CA certificate without key */
    bool kept;     /* found: complete and as wanted */
    char *base;    /* path below the directory without extension; ITEM_COPY, ITEM_TEXT: with it */
    char *issuer;  /* base of the CA; NULL: itself. ITEM_COPY: what is copied */
    char *text;    /* ITEM_TEXT: its content, of which an existing file may differ */
    char *cn;
    struct texts orgs;
    struct x509_sans sans;
    unsigned usages;
};
struct plan {
    const struct settings *settings;
    const char *dir;
    struct item *items;
    size_t count;
    int64_t now_s, not_before_s, leaf_end_s, ca_end_s;
    enum x509_algorithm algorithm;
    bool key_given; /* --key: an existing key has to be of that kind */
    bool any_external;
    size_t differences;
    struct ca_ring cas;
};

/* Dates and key kind of the command line; ERR_USAGE names the flag. ca_only: --validity is
 * the CA's */
int plan_init(struct plan *plan, const struct settings *settings, bool ca_only,
              struct err *err) MUST_CHECK;
/* A new item, to be filled; valid until the next one. `issuer` NULL: itself. */
struct item *plan_add(struct plan *plan, enum item_kind kind, const char *base, const char *issuer);
/* The pair of a role; cn NULL: the role's own. */
struct item *plan_add_role(struct plan *plan, const struct role *role, const char *base,
                           const char *issuer, const char *cn);
/* The pair that `issue ROLE [NAME]` and its flags describe, also for a request. */
int plan_issue(struct plan *plan, const struct settings *settings, struct err *err) MUST_CHECK;
/* Lock the directory, judge, write, say what was done; the exit status. */
int plan_carry_out(struct plan *plan);
void plan_free(struct plan *plan);

#endif
