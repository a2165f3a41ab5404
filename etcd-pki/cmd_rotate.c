/*
 * cmd_rotate.c - rotate-ca: a new CA beside the old one, in steps that may each be run again.
 *
 *     prepare   ca-next.*; ca.crt = current + next      then members read it (etcd: restart each)
 *     switch    ca-prev.*; ca.* = next, ca.crt = next + current; leaves reissued; ca-next.* gone
 *     finish    ca.crt = next; ca-prev.* gone           then members read it
 *
 * Where it stands is what the files show; since when, rotation.json. Copies of ca.crt below the
 * directory follow. What else such a file trusts stays in it, behind these. The first certificate
 * of ca.crt always belongs to ca.key: kubeadm reads no other.
 */
#include "common/base/file.h"
#include "etcd-pki/life.h"
#include "etcd-pki/report.h"
#include "etcd-pki/scan.h"
#include "etcd-pki/store.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define ASKING_S 300 /* validity of the client certificate that asks */

struct rotation {
    const struct settings *settings;
    struct renewal renewal;
    struct scan scan;
    const struct entry *ca; /* the CA that is replaced; its first certificate is in use */
    char *next_base, *prev_base;
    const struct entry *next, *prev; /* NULL: not there */
    int fd;
};

static void rotation_close(struct rotation *rotation)
{
    renewal_free(&rotation->renewal);
    scan_free(&rotation->scan);
    free(rotation->next_base);
    free(rotation->prev_base);
    file_close(&rotation->fd);
}

/* prepare makes another next CA; the other steps need what they are about. */
static int refuse_unreadable(const struct rotation *rotation, bool preparing, struct err *err)
{
    const struct entry *bad = NULL;

    if (rotation->next != NULL && rotation->next->error != NULL && !preparing)
        bad = rotation->next;
    if (rotation->prev != NULL && rotation->prev->error != NULL)
        bad = rotation->prev;
    if (bad == NULL)
        return 0;
    err_set(err, ERR_TLS, "%s; put a good copy back%s", bad->error,
            bad == rotation->next ? ", or prepare again, which makes another CA"
                                  : ": of the CA before the switch, which is in .old");
    return -1;
}

/*
 * renewal_heal() looks at certificates that are there. A step that was killed while it made one of
 * these leaves the CA's key under a temporary name, which nobody would ever look at again.
 */
static int heal_own(const struct rotation *rotation, struct err *err)
{
    const char *const bases[] = {rotation->next_base, rotation->prev_base};
    const struct store store = renewal_store(&rotation->renewal);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(bases); i++) {
        char *path = xasprintf("%s/%s.crt", store.dir, bases[i]);
        bool healed; /* then it is half of a pair that is made again */

        if (!file_exists(path))
            rc = store_heal(&store, bases[i], rotation->settings->passphrase, &healed, err);
        free(path);
    }
    return rc;
}

static int rotation_open(struct rotation *rotation, const struct settings *settings, bool preparing,
                         struct err *err)
{
    *rotation = (struct rotation){.settings = settings, .fd = -1};
    if (renewal_init(&rotation->renewal, settings, true, err) < 0)
        return -1;
    if (!file_exists(rotation->renewal.dir)) {
        err_set(err, ERR_MISSING, "%s is not there; give --dir", rotation->renewal.dir);
        return -1;
    }
    if (store_lock(rotation->renewal.dir, &rotation->fd, err) < 0 ||
        renewal_heal(settings, rotation->renewal.dir, err) < 0 ||
        scan_directory(rotation->renewal.dir, settings->passphrase, &rotation->scan, err) < 0)
        return -1;
    rotation->ca = scan_root_ca(&rotation->scan, settings->ca, err);
    if (rotation->ca == NULL)
        return -1;
    if (!rotation->ca->key_fits) {
        if (rotation->ca->key_error != NULL)
            err_set(err, ERR_TLS, "%s", rotation->ca->key_error);
        else
            err_set(err, ERR_TLS, "%s: the key beside it belongs to another certificate",
                    rotation->ca->path);
        return -1;
    }
    rotation->next_base = xasprintf("%s-next", rotation->ca->base);
    rotation->prev_base = xasprintf("%s-prev", rotation->ca->base);
    rotation->next = scan_named(&rotation->scan, rotation->next_base);
    rotation->prev = scan_named(&rotation->scan, rotation->prev_base);
    if (heal_own(rotation, err) < 0)
        return -1;
    return refuse_unreadable(rotation, preparing, err);
}

static void say_done(const struct rotation *rotation, const char *text)
{
    report_text(rotation->settings->report, "done", text);
    if (says(rotation->settings))
        printf("%s\n", text);
}

static bool is_of_rotation(const struct rotation *rotation, const struct x509_cert *cert)
{
    const struct entry *const own[] = {rotation->ca, rotation->next, rotation->prev};
    bool is = false;

    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        is = is || (own[i] != NULL && own[i]->chain.count != 0 &&
                    x509_certs_equal(own[i]->chain.items[0], cert));
    return is;
}

/* `first`, `second` unless NULL, then what else that file trusts, which is no part of this. */
static struct x509_list bundle_of(const struct rotation *rotation, const struct entry *entry,
                                  const struct x509_cert *first, const struct x509_cert *second)
{
    struct x509_list certs = {.items = xalloc((entry->chain.count + 2) * sizeof *certs.items)};

    certs.items[certs.count++] = x509_cert_copy(first);
    if (second != NULL)
        certs.items[certs.count++] = x509_cert_copy(second);
    for (size_t i = 0; i < entry->chain.count; i++) {
        const struct x509_cert *other = entry->chain.items[i];

        if (!x509_certs_equal(other, first) &&
            (second == NULL || !x509_certs_equal(other, second)) &&
            !is_of_rotation(rotation, other))
            certs.items[certs.count++] = x509_cert_copy(other);
    }
    return certs;
}

/* Replace the certificates of `entry`, with the key unless NULL; say which others stay there. */
static int write_bundle(const struct rotation *rotation, const struct entry *entry,
                        const struct x509_key *key, const struct x509_cert *first,
                        const struct x509_cert *second, struct err *err)
{
    const struct store store = renewal_store(&rotation->renewal);
    struct x509_list certs = bundle_of(rotation, entry, first, second);
    int rc = store_replace(&store, entry->base, key, &certs, err);

    if (rc == 0)
        report_cert(report_file(rotation->settings, store.dir, entry->base, ".crt",
                                entry == rotation->ca ? "written" : "copied"),
                    first);
    if (rc == 0 && key != NULL)
        (void)report_file(rotation->settings, store.dir, entry->base, ".key", "written");
    if (rc == 0 && entry != rotation->ca && says(rotation->settings))
        printf("%s.crt follows\n", entry->base);
    for (size_t i = second != NULL ? 2 : 1; rc == 0 && i < certs.count; i++) {
        struct x509_info info;

        x509_describe(certs.items[i], &info);
        if (says(rotation->settings))
            printf("%s.crt goes on trusting %s (serial %s) too\n", entry->base, info.subject,
                   info.serial);
        x509_info_free(&info);
    }
    x509_list_free(&certs);
    return rc;
}

/* ca.crt, and each copy of it, become `first` and `second` (NULL: `first` alone). */
static int write_bundles(struct rotation *rotation, const struct x509_key *key,
                         const struct x509_cert *first, const struct x509_cert *second,
                         struct err *err)
{
    const struct x509_cert *was = rotation->ca->chain.items[0];
    int rc = write_bundle(rotation, rotation->ca, key, first, second, err);

    for (size_t i = 0; rc == 0 && i < rotation->scan.count; i++) {
        const struct entry *entry = &rotation->scan.items[i];
        bool copy = entry != rotation->ca && entry != rotation->next && entry != rotation->prev &&
                    entry->chain.count != 0 && entry->info.ca && !entry->key_there &&
                    entry->same_as == NULL;

        if (copy && (x509_certs_equal(entry->chain.items[0], was) ||
                     x509_certs_equal(entry->chain.items[0], first) ||
                     (second != NULL && x509_certs_equal(entry->chain.items[0], second))))
            rc = write_bundle(rotation, entry, NULL, first, second, err);
    }
    return rc;
}

/* ---- prepare ---- */

/* What a rotation makes itself is kept in .old whatever --backup-dir says. */
static struct store own_store(const struct rotation *rotation)
{
    struct store store = renewal_store(&rotation->renewal);

    store.backup = NULL;
    return store;
}

static int make_next(struct rotation *rotation, struct x509_cert **next, struct err *err)
{
    const struct renewal *renewal = &rotation->renewal;
    const struct store store = own_store(rotation);
    enum x509_algorithm kind = renewal->kind;
    struct x509_key *key;
    struct x509_list certs = {next, 1};
    int rc = -1;

    if (!renewal->kind_given && !x509_algorithm_parse(rotation->ca->info.key, &kind))
        kind = X509_RSA_2048;
    if (rotation->ca->key_locked) { /* or the next one would lie open */
        char *path = xasprintf("%s/%s.key", renewal->dir, rotation->ca->base);

        (void)passphrase_missing(path, err);
        free(path);
        return -1;
    }
    key = x509_key_new(kind);
    x509_key_lock(key, rotation->settings->passphrase);
    if (x509_cert_again(rotation->ca->chain.items[0], key, NULL, NULL, 0, renewal->not_before_s,
                        renewal->end_s, next, err) == 0) {
        rc = store_replace(&store, rotation->next_base, key, &certs, err);
        if (rc < 0) {
            x509_cert_free(*next);
            *next = NULL;
        } else {
            report_cert(
                report_file(rotation->settings, store.dir, rotation->next_base, ".crt", "made"),
                *next);
            (void)report_file(rotation->settings, store.dir, rotation->next_base, ".key", "made");
        }
    }
    x509_key_free(key);
    return rc;
}

/* The date of a step that is run again stays. */
static int note_step(const struct rotation *rotation, bool switched, struct err *err)
{
    struct rotation_dates dates;
    char *date = switched ? dates.switched : dates.prepared;

    rotation_dates_read(rotation->renewal.dir, rotation->ca->base, &dates);
    if (date[0] != '\0')
        return 0;
    x509_time_text(rotation->renewal.now_s, date);
    return rotation_dates_write(rotation->renewal.dir, rotation->ca->base, &dates, err);
}

static int prepare(struct rotation *rotation, struct err *err)
{
    struct x509_cert *next = NULL;
    int rc;

    if (rotation->prev != NULL) {
        err_set(err, ERR_EXISTS, "%s.crt is there: a rotation is at its switch; finish that first",
                rotation->prev_base);
        return -1;
    }
    if (rotation->next != NULL && rotation->next->key_fits)
        next = x509_cert_copy(rotation->next->chain.items[0]);
    else if (rotation_dates_write(rotation->renewal.dir, rotation->ca->base, NULL, err) < 0 ||
             make_next(rotation, &next, err) < 0)
        return -1;
    rc = write_bundles(rotation, NULL, rotation->ca->chain.items[0], next, err);
    x509_cert_free(next);
    if (rc == 0)
        rc = note_step(rotation, false, err);
    if (rc == 0)
        say_done(rotation,
                 "prepared: CA files hold the current and the next CA. Bring them to every member "
                 "and client; restart etcd members one by one (etcd-server reads them by itself). "
                 "Then: etcd-pki rotate-ca status --endpoints LIST, and switch");
    return rc;
}

/* ---- status ---- */

/* A client certificate of that CA for a few minutes. */
static int make_asking(const struct rotation *rotation, const struct entry *ca,
                       struct x509_list *cert, struct x509_key **key, struct err *err)
{
    char *path = xasprintf("%s/%s.key", rotation->renewal.dir, ca->base);
    struct x509_key *ca_key = NULL;
    int rc = ca_key_read(path, rotation->settings->passphrase, &ca_key, err);

    if (rc == 0) {
        *key = x509_key_new(X509_ECDSA_P256);
        cert->items = xalloc(sizeof *cert->items);
        rc = x509_cert_new(&(struct x509_request){.cn = "etcd-pki rotate-ca",
                                                  .usages = X509_CLIENT,
                                                  .not_before_s = clock_s() - ASKING_S,
                                                  .not_after_s = clock_s() + ASKING_S},
                           *key, ca->chain.items[0], ca_key, &cert->items[0], err);
        cert->count = rc == 0 ? 1 : 0;
    }
    x509_key_free(ca_key);
    free(path);
    return rc;
}

static bool endpoint_trusts(const char *url, int64_t timeout_s, const struct x509_list *cert,
                            const struct x509_key *key, char **what)
{
    struct probe_target target;
    struct x509_seen seen = {0};
    struct err err = ERR_INIT;
    bool trusts = false;
    int fd = -1;

    if (probe_target_parse(url, &target, &err) < 0) {
        *what = xstrdup(err.text);
        return false;
    }
    if (probe_dial(&target, timeout_s, &fd, &err) < 0 ||
        x509_probe(fd, target.host, "/version", cert, key, &seen, &err) < 0) {
        *what = xstrdup(err.text);
    } else if (!seen.asked) {
        *what = xstrdup("asks for no client certificate, so this cannot be told");
    } else if (seen.step == X509_STEP_ANSWERED) {
        *what = probe_refusal(&seen);
        trusts = *what == NULL;
        if (trusts)
            *what = xasprintf("yes (%zu CA names)", seen.asks_count);
    } else {
        *what = xasprintf("no: %s", seen.alert == 48 ? "unknown_ca: it has not read the new CA file"
                                                     : seen.said);
    }
    x509_seen_free(&seen);
    probe_target_free(&target);
    file_close(&fd);
    return trusts;
}

/*
 * Does every endpoint trust the CA that comes?
 * list  an array that gets an object for each; NULL: lines are printed instead
 */
static int ask_endpoints(const struct rotation *rotation, json_t *list, size_t *without,
                         struct err *err)
{
    const struct entry *ca = rotation->next != NULL ? rotation->next : rotation->ca;
    struct texts endpoints = {0};
    struct x509_list cert = {0};
    struct x509_key *key = NULL;
    int64_t timeout_s = PROBE_TIMEOUT_S_DEFAULT;
    int rc = -1;

    *without = 0;
    if (rotation->settings->timeout != NULL &&
        parse_duration("--timeout", rotation->settings->timeout, &timeout_s, err) < 0)
        return -1;
    if (make_asking(rotation, ca, &cert, &key, err) < 0)
        goto out;
    (void)signal(SIGPIPE, SIG_IGN); /* a closed connection is an answer */
    texts_add_list(&endpoints, rotation->settings->endpoints);
    for (size_t i = 0; i < endpoints.count; i++) {
        const char *url = endpoints.items[i];
        char *what;
        bool trusts = endpoint_trusts(url, timeout_s, &cert, key, &what);

        *without += trusts ? 0 : 1;
        if (list != NULL)
            must(json_array_append_new(list, json_pack("{s:o, s:b, s:o}", "endpoint",
                                                       json_text(url), "trusted", trusts, "answer",
                                                       json_text(what))) == 0);
        else if (says(rotation->settings))
            printf("%s  trusts %s CA: %s\n", url, rotation->next != NULL ? "the next" : "the",
                   what);
        free(what);
    }
    rc = 0;
out:
    texts_free(&endpoints);
    x509_list_free(&cert);
    x509_key_free(key);
    return rc;
}

static size_t leaves_of(const struct rotation *rotation, const struct x509_cert *ca)
{
    size_t count = 0;

    for (size_t i = 0; i < rotation->scan.count; i++) {
        const struct entry *entry = &rotation->scan.items[i];

        count += entry->chain.count != 0 && entry->same_as == NULL && !entry->info.ca &&
                         x509_issued_by(entry->chain.items[0], ca)
                     ? 1
                     : 0;
    }
    return count;
}

static void print_status(const struct rotation *rotation, const struct rotation_dates *dates,
                         size_t left)
{
    if (rotation->prev != NULL)
        printf("switched%s%s: %s is the next CA; %zu certificates here are still of the previous "
               "one\n",
               dates->switched[0] != '\0' ? " on " : "", dates->switched, rotation->ca->base, left);
    else if (rotation->next != NULL)
        printf("prepared%s%s: %s.crt is the next CA, until %s\n",
               dates->prepared[0] != '\0' ? " on " : "", dates->prepared, rotation->next_base,
               rotation->next->info.not_after);
    else
        printf("no rotation under way: %s until %s\n", rotation->ca->base,
               rotation->ca->info.not_after);
}

static json_t *date_json(const char *date)
{
    return date[0] != '\0' ? json_text(date) : json_null();
}

static json_t *ca_json(const struct entry *entry)
{
    if (entry == NULL)
        return json_null();
    return json_pack("{s:o, s:o, s:o, s:s, s:b}", "file", json_text(entry->path), "subject",
                     json_text(entry->info.subject), "serial", json_text(entry->info.serial),
                     "expirationDate", entry->info.not_after, "keyFits", entry->key_fits);
}

/* `endpoints` is taken; NULL: none was asked. */
static void print_status_json(const struct rotation *rotation, const struct rotation_dates *dates,
                              size_t left, size_t without, json_t *endpoints)
{
    const char *state = rotation->prev != NULL   ? "switched"
                        : rotation->next != NULL ? "prepared"
                                                 : "none";
    json_t *all = json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o}", "name", json_text(rotation->ca->name),
        "state", state, "prepared", date_json(dates->prepared), "switched",
        date_json(dates->switched), "ca", ca_json(rotation->ca), "next", ca_json(rotation->next),
        "previous", ca_json(rotation->prev), "issuedByPrevious", (json_int_t)left, "trusted",
        endpoints != NULL ? json_boolean(without == 0) : json_null(), "endpoints",
        endpoints != NULL ? endpoints : json_array());

    must(all != NULL);
    json_put(all);
}

static int status_of(struct rotation *rotation, bool as_json, int *status, struct err *err)
{
    bool asked = rotation->settings->endpoints != NULL;
    json_t *endpoints = as_json && asked ? json_array() : NULL;
    struct rotation_dates dates;
    size_t left = 0, without = 0;

    rotation_dates_read(rotation->renewal.dir, rotation->ca->base, &dates);
    if (rotation->prev != NULL)
        left = leaves_of(rotation, rotation->prev->chain.items[0]);
    if (!as_json)
        print_status(rotation, &dates, left);
    if (asked && ask_endpoints(rotation, endpoints, &without, err) < 0) {
        json_decref(endpoints);
        return -1;
    }
    if (as_json)
        print_status_json(rotation, &dates, left, without, endpoints);
    *status = without != 0 ? EXIT_FINDING : EXIT_DONE;
    return 0;
}

/* ---- switch ---- */

static int refuse_early(struct rotation *rotation, struct err *err)
{
    size_t without = 0;

    if (rotation->settings->force)
        return 0;
    if (rotation->settings->endpoints == NULL) {
        err_set(err, ERR_USAGE,
                "rotate-ca switch: give all members with --endpoints, so that they can be asked "
                "whether they trust the next CA (--force does without)");
        return -1;
    }
    if (ask_endpoints(rotation, NULL, &without, err) < 0)
        return -1;
    if (without == 0)
        return 0;
    err_set(err, ERR_TLS,
            "rotate-ca switch: %zu endpoint%s not trust the next CA yet; nothing was changed",
            without, without == 1 ? " does" : "s do");
    return -1;
}

static int exchange(struct rotation *rotation, struct err *err)
{
    const struct store store = own_store(rotation);
    const char *dir = rotation->renewal.dir;
    char *next_key = xasprintf("%s/%s.key", dir, rotation->next_base);
    char *ca_key = xasprintf("%s/%s.key", dir, rotation->ca->base);
    const struct x509_cert *next = rotation->next->chain.items[0];
    const struct x509_cert *current =
        rotation->prev != NULL ? rotation->prev->chain.items[0] : rotation->ca->chain.items[0];
    struct x509_key *key = NULL, *old_key = NULL;
    struct x509_cert *kept = x509_cert_copy(current);
    struct x509_list old = {&kept, 1};
    int rc = -1;

    if (!rotation->next->key_fits)
        err_set(err, ERR_TLS, "%s: its key is missing or another certificate's; prepare again",
                rotation->next->path);
    else if (ca_key_read(next_key, rotation->settings->passphrase, &key, err) == 0 &&
             (rotation->prev != NULL ||
              (ca_key_read(ca_key, rotation->settings->passphrase, &old_key, err) == 0 &&
               store_replace(&store, rotation->prev_base, old_key, &old, err) == 0)))
        rc = write_bundles(rotation, key, next, current, err);
    x509_cert_free(kept);
    x509_key_free(key);
    x509_key_free(old_key);
    free(next_key);
    free(ca_key);
    return rc;
}

static void remove_pair(const struct rotation *rotation, const char *base)
{
    static const char *const extensions[] = {".key", ".crt"};

    for (size_t i = 0; i < 2; i++) {
        char *path = xasprintf("%s/%s%s", rotation->renewal.dir, base, extensions[i]);

        if (unlink(path) == 0)
            (void)report_file(rotation->settings, NULL, path, "", "removed");
        free(path);
    }
}

/* What the previous CA has signed, signed by the new one; the directory is looked at afresh. */
static int reissue(struct rotation *rotation, struct err *err)
{
    struct renewal renewal;
    struct scan scan;
    const struct entry *prev;
    int rc = renewal_init(&renewal, rotation->settings, false, err);

    if (rc < 0)
        return -1;
    rc = scan_directory(renewal.dir, rotation->settings->passphrase, &scan, err);
    prev = rc == 0 ? scan_named(&scan, rotation->prev_base) : NULL;
    for (size_t i = 0; rc == 0 && prev != NULL && i < scan.count; i++)
        if (scan.items[i].chain.count != 0 && scan.items[i].same_as == NULL &&
            !scan.items[i].info.ca &&
            x509_issued_by(scan.items[i].chain.items[0], prev->chain.items[0]))
            rc = renewal_add(&renewal, &scan.items[i], err);
    if (rc == 0)
        rc = renewal_write(&renewal, err);
    scan_free(&scan);
    renewal_free(&renewal);
    return rc;
}

static int switch_over(struct rotation *rotation, struct err *err)
{
    if (rotation->next == NULL && rotation->prev == NULL) {
        err_set(err, ERR_MISSING, "%s.crt is not there: prepare first", rotation->next_base);
        return -1;
    }
    if (rotation->next != NULL && (refuse_early(rotation, err) < 0 || exchange(rotation, err) < 0))
        return -1;
    if (reissue(rotation, err) < 0 || note_step(rotation, true, err) < 0)
        return -1;
    remove_pair(rotation, rotation->next_base);
    say_done(rotation,
             "switched: bring the new pairs to their hosts (no restart), write revocation lists "
             "again (etcd-pki crl), reissue what was issued elsewhere. Then: etcd-pki rotate-ca "
             "finish");
    return 0;
}

/* ---- finish ---- */

/* etcd-server takes a list of a trusted CA only: with an old one it would go on with the old CA. */
static int refuse_old_list(const struct rotation *rotation, struct err *err)
{
    char *path = xasprintf("%s/%s.crl", rotation->renewal.dir, rotation->ca->base);
    struct x509_list current = {rotation->ca->chain.items, 1};
    struct x509_crl_shape shape;
    struct err ignored = ERR_INIT;
    int rc = 0;

    if (!rotation->settings->force && file_exists(path) &&
        x509_crl_look(path, &current, &shape, &ignored) == 0 && !shape.signed_here) {
        err_set(err, ERR_EXISTS,
                "%s is still of the previous CA, and nothing would take it afterwards; write it "
                "again first: etcd-pki crl",
                path);
        rc = -1;
    }
    free(path);
    return rc;
}

static int finish_rotation(struct rotation *rotation, struct err *err)
{
    size_t left;

    if (rotation->prev == NULL) {
        err_set(err, ERR_MISSING, "%s.crt is not there: %s", rotation->prev_base,
                rotation->next != NULL ? "switch first" : "no rotation is under way");
        return -1;
    }
    left = leaves_of(rotation, rotation->prev->chain.items[0]);
    if (!rotation->settings->force && (left != 0 || rotation->next != NULL)) {
        err_set(err, ERR_EXISTS,
                "%zu certificate%s here are still of the previous CA; run switch again", left,
                left != 1 ? "s" : "");
        return -1;
    }
    if (refuse_old_list(rotation, err) < 0 ||
        write_bundles(rotation, NULL, rotation->ca->chain.items[0], NULL, err) < 0)
        return -1;
    if (rotation_dates_write(rotation->renewal.dir, rotation->ca->base, NULL, err) < 0)
        return -1;
    remove_pair(rotation, rotation->prev_base); /* last: until then finish can be run again */
    say_done(rotation,
             "finished: CA files hold the new CA alone. Bring them to every member and client; "
             "restart etcd members one by one (etcd-server reads them by itself)");
    return 0;
}

int cmd_rotate_ca(struct settings *settings)
{
    const char *step = settings->args.count == 1 ? settings->args.items[0] : "";
    bool known = strcmp(step, "prepare") == 0 || strcmp(step, "switch") == 0 ||
                 strcmp(step, "finish") == 0 || strcmp(step, "status") == 0;
    struct rotation rotation = {.fd = -1};
    struct err err = ERR_INIT;
    bool as_json = settings->report != NULL;
    int rc = -1, status = EXIT_DONE;

    if (!known)
        err_set(&err, ERR_USAGE, "rotate-ca: one of prepare, status, switch, finish");
    else if (rotation_open(&rotation, settings, strcmp(step, "prepare") == 0, &err) < 0)
        ;
    else if (strcmp(step, "prepare") == 0)
        rc = prepare(&rotation, &err);
    else if (strcmp(step, "switch") == 0)
        rc = switch_over(&rotation, &err);
    else if (strcmp(step, "finish") == 0)
        rc = finish_rotation(&rotation, &err);
    else
        rc = status_of(&rotation, as_json, &status, &err);
    if (rc == 0 && strcmp(step, "status") == 0)
        report_drop(settings); /* it has an object of its own */
    rotation_close(&rotation);
    return rc < 0 ? fail(settings, &err) : status;
}
