/* bootstrap.c - see bootstrap.h. Lists are short: RAFT_MEMBERS_MAX members,
 * MEMBER_URLS_MAX URLs. */
#include "common/schema/bootstrap.h"
#include "common/base/limits.h"
#include "common/base/url.h"
#include "common/schema/ids.h"

void bootstrap_free(struct bootstrap *bootstrap)
{
    for (size_t at = 0; at < bootstrap->member_count; at++)
        member_fini(&bootstrap->members[at]);
    free(bootstrap->members);
    *bootstrap = (struct bootstrap){0};
}

/* ---- sorted lists of URL texts ---- */

struct urls {
    char *items[MEMBER_URLS_MAX]; /* owned */
    size_t count;
};

static void urls_fini(struct urls *urls)
{
    for (size_t at = 0; at < urls->count; at++)
        free(urls->items[at]);
    urls->count = 0;
}

/* `text` is taken. */
static int urls_insert(struct urls *urls, char *text, struct err *err)
{
    size_t at;

    if (urls->count == MEMBER_URLS_MAX) {
        err_set(err, ERR_USAGE, "more than %d URLs for one member, at %s", MEMBER_URLS_MAX, text);
        free(text);
        return -1;
    }
    for (at = urls->count; at > 0 && strcmp(urls->items[at - 1], text) > 0; at--)
        urls->items[at] = urls->items[at - 1];
    urls->items[at] = text;
    urls->count++;
    return 0;
}

static int urls_add(struct urls *urls, const char *text, size_t bytes, struct err *err)
{
    char *copy = xstrndup(text, bytes);
    struct url url;
    int rc = url_parse(copy, &url, err);

    free(copy);
    if (rc < 0)
        return -1;
    rc = urls_insert(urls, xstrdup(url.text), err);
    url_fini(&url);
    return rc;
}

static int urls_parse(const char *list, struct urls *urls, struct err *err)
{
    size_t bytes;

    do {
        bytes = strcspn(list, ",");
        if (urls_add(urls, list, bytes, err) < 0)
            return -1;
        list += bytes + 1;
    } while (list[-1] != '\0');
    return 0;
}

static bool urls_have(char *const *items, size_t count, const char *text)
{
    for (size_t at = 0; at < count; at++)
        if (strcmp(items[at], text) == 0)
            return true;
    return false;
}

/* ---- the map ---- */

static struct member *member_named(struct bootstrap *bootstrap, const char *name, struct err *err)
{
    struct member *member;

    for (size_t at = 0; at < bootstrap->member_count; at++)
        if (strcmp(bootstrap->members[at].name, name) == 0)
            return &bootstrap->members[at];
    if (bootstrap->member_count == RAFT_MEMBERS_MAX) {
        err_set(err, ERR_USAGE, "initial cluster has more than %lu members, at \"%s\"",
                RAFT_MEMBERS_MAX, name);
        return NULL;
    }
    bootstrap->members =
        xrealloc(bootstrap->members, (bootstrap->member_count + 1) * sizeof(*bootstrap->members));
    member = &bootstrap->members[bootstrap->member_count++];
    member_init(member, 0);
    member_set_name(member, name);
    return member;
}

/* Put one more URL into the member's sorted list. */
static int add_url(struct member *member, const char *text, size_t bytes, struct err *err)
{
    struct urls urls = {0};
    int rc = urls_add(&urls, text, bytes, err);

    for (size_t at = 0; rc == 0 && at < member->peer_url_count; at++)
        rc = urls_insert(&urls, xstrdup(member->peer_urls[at]), err);
    if (rc == 0) {
        const char *list[MEMBER_URLS_MAX];

        for (size_t at = 0; at < urls.count; at++)
            list[at] = urls.items[at];
        member_set_peer_urls(member, list, urls.count);
    }
    urls_fini(&urls);
    return rc;
}

static int parse_map(const char *text, struct bootstrap *bootstrap, struct err *err)
{
    const char *part = text;
    size_t bytes;

    do {
        const char *equals;
        struct member *member;
        char *name;

        bytes = strcspn(part, ",");
        if (bytes == 0 && part != text) { /* a comma too many, at the end say */
            part++;
            continue;
        }
        equals = memchr(part, '=', bytes);
        if (equals == NULL || equals + 1 == part + bytes) {
            err_set(err, ERR_USAGE, "initial cluster \"%s\": \"%.*s\" is not of the form name=URL",
                    text, (int)bytes, part);
            return -1;
        }
        name = xstrndup(part, (size_t)(equals - part));
        member = member_named(bootstrap, name, err);
        free(name);
        if (member == NULL ||
            add_url(member, equals + 1, (size_t)(part + bytes - equals - 1), err) < 0)
            return -1;
        part += bytes + 1;
    } while (part[-1] != '\0');
    return 0;
}

/* ---- checks ---- */

/* "n1=http://a,n2=http://b", ascending as etcd prints its map. */
static void print_map(const struct bootstrap *bootstrap, struct buf *out)
{
    struct urls pairs = {0};
    struct err ignored = ERR_INIT; /* what does not fit is left out of the text */

    for (size_t at = 0; at < bootstrap->member_count; at++)
        for (size_t url = 0; url < bootstrap->members[at].peer_url_count; url++)
            (void)urls_insert(&pairs,
                              xasprintf("%s=%s", bootstrap->members[at].name,
                                        bootstrap->members[at].peer_urls[url]),
                              &ignored);
    for (size_t at = 0; at < pairs.count; at++)
        (void)buf_printf(out, "%s%s", at != 0 ? "," : "", pairs.items[at]);
    urls_fini(&pairs);
}

static int check_duplicates(const struct bootstrap *bootstrap, struct err *err)
{
    for (size_t one = 0; one < bootstrap->member_count; one++)
        for (size_t url = 0; url < bootstrap->members[one].peer_url_count; url++) {
            const struct member *first = &bootstrap->members[one];
            bool again = urls_have(first->peer_urls, url, first->peer_urls[url]);

            for (size_t two = 0; !again && two < one; two++)
                again = urls_have(bootstrap->members[two].peer_urls,
                                  bootstrap->members[two].peer_url_count, first->peer_urls[url]);
            if (again) {
                struct buf map = BUF_INIT(ERR_TEXT_MAX / 2);

                print_map(bootstrap, &map);
                err_set(err, ERR_USAGE, "initial cluster %s has duplicate url", buf_text(&map));
                buf_free(&map);
                return -1;
            }
        }
    return 0;
}

/* Those of `items` that `others` has not, each behind `prefix`, joined by commas. */
static bool missing(char *const *items, size_t count, char *const *others, size_t other_count,
                    const char *prefix, struct buf *out)
{
    for (size_t at = 0; at < count; at++)
        if (!urls_have(others, other_count, items[at]))
            (void)buf_printf(out, "%s%s%s", buf_used(out) != 0 ? "," : "", prefix, items[at]);
    return buf_used(out) != 0;
}

static void join(char *const *items, size_t count, const char *prefix, struct buf *out)
{
    (void)missing(items, count, NULL, 0, prefix, out);
}

/* ["http://a:1" "http://b:1"] */
static void print_list(char *const *items, size_t count, struct buf *out)
{
    for (size_t at = 0; at < count; at++)
        (void)buf_printf(out, "%s\"%s\"", at == 0 ? "[" : " ", items[at]);
    (void)buf_append_byte(out, ']');
}

/* Where two sorted lists of the same length differ first; count: nowhere. */
static size_t first_difference(char *const *one, char *const *two, size_t count)
{
    size_t at = 0;

    while (at < count && strcmp(one[at], two[at]) == 0)
        at++;
    return at;
}

static int resolve_all(char *const *items, size_t count, bootstrap_resolve_fn *resolve, void *arg,
                       struct urls *resolved, struct err *err)
{
    for (size_t at = 0; at < count; at++) {
        char *text = NULL;

        if (resolve == NULL)
            text = xstrdup(items[at]);
        else if (resolve(arg, items[at], &text, err) < 0)
            return -1;
        if (urls_insert(resolved, text, err) < 0)
            return -1;
    }
    return 0;
}

bool bootstrap_urls_equal(char *const *own, size_t own_count, char *const *others,
                          size_t other_count, bootstrap_resolve_fn *resolve, void *resolve_arg,
                          struct buf *why)
{
    struct urls one = {0}, two = {0};
    struct err err = ERR_INIT;
    size_t at = 0;
    bool equal = false;

    if (own_count != other_count) {
        (void)buf_append_text(why, "len(");
        print_list(own, own_count, why);
        (void)buf_append_text(why, ") != len(");
        print_list(others, other_count, why);
        (void)buf_append_text(why, ")");
        return false;
    }
    if (first_difference(own, others, own_count) == own_count)
        return true;
    if (resolve_all(own, own_count, resolve, resolve_arg, &one, &err) < 0 ||
        resolve_all(others, other_count, resolve, resolve_arg, &two, &err) < 0) {
        (void)buf_append_text(why, err.text);
    } else {
        at = first_difference(one.items, two.items, own_count);
        equal = at == own_count;
        if (!equal)
            (void)buf_printf(why, "resolved urls: \"%s\" != \"%s\"", one.items[at], two.items[at]);
    }
    urls_fini(&one);
    urls_fini(&two);
    return equal;
}

static int check_advertised(const struct member *self, const struct urls *own,
                            const struct bootstrap_wish *wish, struct err *err)
{
    struct buf lack = BUF_INIT(ERR_TEXT_MAX), list = BUF_INIT(ERR_TEXT_MAX),
               why = BUF_INIT(ERR_TEXT_MAX);
    char *prefix = xasprintf("%s=", self->name);
    int rc = -1;

    if (bootstrap_urls_equal(own->items, own->count, self->peer_urls, self->peer_url_count,
                             wish->resolve, wish->resolve_arg, &why)) {
        rc = 0;
    } else if (missing(self->peer_urls, self->peer_url_count, own->items, own->count, prefix,
                       &lack)) {
        join(own->items, own->count, "", &list);
        err_set(err, ERR_USAGE,
                "--initial-cluster has %s but missing from --initial-advertise-peer-urls=%s (%s)",
                buf_text(&lack), buf_text(&list), buf_text(&why));
    } else if (missing(own->items, own->count, self->peer_urls, self->peer_url_count, "", &lack)) {
        join(self->peer_urls, self->peer_url_count, prefix, &list);
        err_set(err, ERR_USAGE,
                "--initial-advertise-peer-urls has %s but missing from --initial-cluster=%s",
                buf_text(&lack), buf_text(&list));
    } else {
        rc = 0;
    }
    buf_free(&lack);
    buf_free(&list);
    buf_free(&why);
    free(prefix);
    return rc;
}

/* ---- ids ---- */

static int by_id(const void *a, const void *b)
{
    uint64_t one = ((const struct member *)a)->id, two = ((const struct member *)b)->id;

    return (one > two) - (one < two);
}

static void set_ids(struct bootstrap *bootstrap, const char *token, const char *name)
{
    uint64_t ids[RAFT_MEMBERS_MAX];

    for (size_t at = 0; at < bootstrap->member_count; at++) {
        struct member *member = &bootstrap->members[at];
        const char *urls[MEMBER_URLS_MAX];

        for (size_t url = 0; url < member->peer_url_count; url++)
            urls[url] = member->peer_urls[url];
        member->id = ids_member(urls, member->peer_url_count, token, IDS_NO_TIME);
        ids[at] = member->id;
    }
    bootstrap->cluster_id = ids_cluster(ids, bootstrap->member_count);
    qsort(bootstrap->members, bootstrap->member_count, sizeof(*bootstrap->members), by_id);
    for (size_t at = 0; at < bootstrap->member_count; at++)
        if (strcmp(bootstrap->members[at].name, name) == 0)
            bootstrap->self = at;
}

int bootstrap_read(const struct bootstrap_wish *wish, struct bootstrap *bootstrap, struct err *err)
{
    const struct member *self = NULL;
    struct urls own = {0};
    int rc = -1;

    *bootstrap = (struct bootstrap){0};
    if (parse_map(wish->initial_cluster, bootstrap, err) < 0) {
        err_prefix(err, "error setting up initial cluster");
        goto out;
    }
    for (size_t at = 0; at < bootstrap->member_count; at++)
        if (strcmp(bootstrap->members[at].name, wish->name) == 0)
            self = &bootstrap->members[at];
    if (self == NULL) {
        err_set(err, ERR_USAGE,
                "couldn't find local name \"%s\" in the initial cluster configuration", wish->name);
        goto out;
    }
    if (check_duplicates(bootstrap, err) < 0 ||
        (wish->advertised != NULL && (urls_parse(wish->advertised, &own, err) < 0 ||
                                      check_advertised(self, &own, wish, err) < 0)))
        goto out;
    set_ids(bootstrap, wish->token, wish->name);
    rc = 0;
out:
    urls_fini(&own);
    if (rc < 0)
        bootstrap_free(bootstrap);
    return rc;
}

int bootstrap_parse(const char *name, const char *initial_cluster, const char *token,
                    const char *advertised, struct bootstrap *bootstrap, struct err *err)
{
    const struct bootstrap_wish wish = {
        .name = name, .initial_cluster = initial_cluster, .token = token, .advertised = advertised};

    return bootstrap_read(&wish, bootstrap, err);
}

char *bootstrap_own_urls(const struct bootstrap *bootstrap)
{
    const struct member *self = &bootstrap->members[bootstrap->self];
    struct buf text = BUF_INIT(BUF_UNLIMITED);
    char *urls;

    join(self->peer_urls, self->peer_url_count, "", &text);
    urls = xstrdup(buf_text(&text));
    buf_free(&text);
    return urls;
}
