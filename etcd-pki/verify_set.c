/*
 * verify_set.c - the files of one directory against each other: S1, the serials of C5, and P1.
 * Where members have directories of their own, each is judged as a node's, and then their CAs
 * together.
 */
#include "etcd-pki/verify.h"
#include "etcd-pki/scan.h"

#include <stdio.h>
#include <sys/stat.h>

/* The role whose file this is, also in a member's directory: "m1/etcd/server". *above: "m1/". */
static const struct role *role_below(const char *base, size_t *above)
{
    for (const char *at = base; at != NULL; at = strchr(at, '/')) {
        const struct role *role;

        at += *at == '/' ? 1 : 0;
        role = role_of_file(at);
        *above = (size_t)(at - base);
        if (role != NULL)
            return role;
    }
    return NULL;
}

/* A kubeadm name with other content than kubeadm's. */
static void judge_content(struct verify *verify, const struct entry *entry, const struct role *role)
{
    bool ca = role_is_ca(role);

    if (entry->info.ca != ca)
        verify_find(verify, "S1", false, entry->path, NULL,
                    "put it elsewhere, or make it again: etcd-pki issue", "%s under the name of %s",
                    ca ? "is no CA" : "is a CA", role->name);
    else if (role->cn[0] != '\0' && strcmp(role->cn, entry->info.cn) != 0)
        verify_find(verify, "S1", false, entry->path, NULL,
                    "find out whose it is; kubeadm and its users expect the other name",
                    "is CN=%s, under a name that means CN=%s", entry->info.cn, role->cn);
    else if (!ca && entry->info.usages != role->usages && role->usages == X509_CLIENT)
        verify_find(verify, "S1", false, entry->path, NULL, "make it again: etcd-pki issue",
                    "has the usages %s, under a name that means clientAuth",
                    entry->info.extended_usage);
}

/* Signed by the CA that lies where its role's CA does? */
static void judge_issuer(struct verify *verify, const struct scan *scan, const struct entry *entry,
                         const struct role *role, size_t above)
{
    char *base = xasprintf("%.*s%s", (int)above, entry->base, role_at(role->issuer)->file);
    bool issued = false, there = false;

    for (size_t i = 0; i < scan->count; i++) {
        const struct entry *ca = &scan->items[i];

        if (strcmp(ca->base, base) != 0 || ca->chain.count == 0)
            continue;
        there = true;
        for (size_t k = 0; k < ca->chain.count; k++)
            issued = issued || x509_issued_by(entry->chain.items[0], ca->chain.items[k]);
    }
    if (there && !issued && entry->chain.count == 1)
        verify_find(verify, "S1", false, entry->path, NULL,
                    "make the set with one CA, or finish a rotation",
                    "is issued by another key than that of %s (%s)", base, entry->info.issuer);
    free(base);
}

static void judge_serial(struct verify *verify, const struct scan *scan, size_t at)
{
    const struct entry *entry = &scan->items[at];

    for (size_t i = 0; i < at; i++) {
        const struct entry *other = &scan->items[i];

        if (other->chain.count != 0 && strcmp(other->info.serial, entry->info.serial) == 0 &&
            strcmp(other->info.issuer, entry->info.issuer) == 0 &&
            !x509_certs_equal(other->chain.items[0], entry->chain.items[0])) {
            verify_find(verify, "C5", false, entry->path, NULL,
                        "renew one of them: a revocation list cannot tell them apart",
                        "has the serial %s, which %s of the same issuer has too",
                        entry->info.serial, other->path);
            return;
        }
    }
}

static bool same_list(const struct x509_list *a, const struct x509_list *b)
{
    bool same = a->count == b->count;

    for (size_t i = 0; same && i < a->count; i++)
        same = x509_certs_equal(a->items[i], b->items[i]);
    return same;
}

/* Members' CA files: all the same? */
static void judge_members(struct verify *verify, const struct scan *scan, const struct entry *entry)
{
    for (size_t i = 0; &scan->items[i] < entry; i++) {
        const struct entry *other = &scan->items[i];
        size_t above;
        const struct role *role = role_below(other->base, &above);

        if (role != role_at(ROLE_ETCD_CA) || other->chain.count == 0)
            continue;
        if (!same_list(&other->chain, &entry->chain))
            verify_find(verify, "S1", false, entry->path, NULL,
                        "bring the same CA file to every member",
                        "differs from %s: members may refuse each other", other->path);
        return; /* each is compared with the first */
    }
}

/* Is that the file of this flag? */
static bool is_file(const struct verify *verify, const struct entry *entry, const char *file)
{
    char *path = file != NULL ? verify_path(verify, file) : NULL;
    struct stat info;
    bool same = path != NULL && stat(path, &info) == 0 && info.st_dev == entry->device &&
                info.st_ino == entry->inode;

    free(path);
    return same;
}

void verify_set(struct verify *verify, const char *dir)
{
    struct scan scan;
    struct err err = ERR_INIT;

    if (scan_directory(dir, NULL, &scan, &err) < 0) {
        scan_free(&scan);
        return; /* the files that etcd needs are missed by other rules */
    }
    for (size_t i = 0; i < scan.count; i++) {
        const struct entry *entry = &scan.items[i];
        size_t above = 0;
        const struct role *role = role_below(entry->base, &above);

        if (entry->chain.count == 0)
            continue;
        judge_serial(verify, &scan, i);
        if (role == NULL)
            continue;
        judge_content(verify, entry, role);
        if (role == role_at(ROLE_ETCD_CA))
            judge_members(verify, &scan, entry);
        if (role == role_at(ROLE_ETCD_PEER) && !is_file(verify, entry, verify->peer_cert_file))
            verify_allowed(verify, entry->chain.items[0], &entry->info, entry->path);
        if (!role_is_ca(role))
            judge_issuer(verify, &scan, entry, role, above);
    }
    scan_free(&scan);
}
