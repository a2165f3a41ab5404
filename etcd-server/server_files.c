/*
 * server_files.c - what a server opens before it lives: the data directory and its lock, who the
 * members are, the log, the backend.
 *
 *   lock -> new? -> registry or DNS, the others' word -> log -> backend -> defrag
 *                                                                      `-> --force-new-cluster
 */
#include "common/base/clock.h"
#include "common/base/resolve.h"
#include "etcd-server/host/force_new.h"
#include "etcd-server/server_internal.h"

#include <sys/stat.h>

#define LOCK_RETRY_MS 100
#define LOCK_NOTICE_MS 5000
#define BOOTSTRAPPED_ASK_MS 1000 /* as etcd; for each of the others, who may not be there */

struct look { /* at the data directory */
    const char *path;
    bool member, proxy;
};

static int look_at(void *arg, const char *name, struct err *err)
{
    struct look *look = arg;

    (void)err;
    look->member = look->member || strcmp(name, "member") == 0;
    look->proxy = look->proxy || strcmp(name, "proxy") == 0;
    if (strcmp(name, "member") != 0 && strcmp(name, "proxy") != 0 && strcmp(name, "fixtures") != 0)
        log_warn("found invalid file under data directory", log_str("filename", name),
                 log_str("data-dir", look->path));
    return 0;
}

/* As etcd: what has no place beside `member` is named, two kinds of members in one directory are
 * refused; others who may look in are, too, only told of. */
static int check_dir(const char *path, struct err *err)
{
    struct look look = {.path = path};
    struct stat status;

    if (stat(path, &status) < 0) /* it is made, or that says why not */
        return 0;
    if (S_ISDIR(status.st_mode) && fs_posix()->ops->list(fs_posix(), path, look_at, &look, err) < 0)
        return -1;
    if (look.member && look.proxy) {
        err_set(err, ERR_USAGE,
                "invalid datadir; both member and proxy directories exist in %s; remove %s/proxy, "
                "which is of the v2 proxy that is gone",
                path, path);
        return -1;
    }
    if ((status.st_mode & 0777) != 0700) {
        char *error = xasprintf("directory \"%s\" exists with mode %04o; 0700 is recommended, to "
                                "prevent unprivileged access to the data",
                                path, (unsigned)status.st_mode & 0777);

        log_warn("check file permission", log_str("error", error));
        free(error);
    }
    return 0;
}

/* As etcd: wait for another process to let go of the directory, and say so. A signal ends that
 * (main.c). */
static int open_dir(struct server *server, struct err *err)
{
    const char *wal_dir = server->config->wal_dir[0] != '\0' ? server->config->wal_dir : NULL;
    uint64_t waited_ms = 0;

    while (datadir_open(fs_posix(), server->config->data_dir, wal_dir, &server->dir, err) < 0) {
        if (err->code != ERR_LOCKED)
            return -1;
        if (waited_ms % LOCK_NOTICE_MS == 0)
            log_warn("the data directory is in use by another process, waiting for it",
                     log_str("data-dir", server->config->data_dir), log_str("error", err->text));
        clock_pause_ms(LOCK_RETRY_MS);
        waited_ms += LOCK_RETRY_MS;
    }
    return 0;
}

static int force_new(struct server *server, const struct boot_config *boot, struct err *err)
{
    uint64_t consistent_index = 0;
    size_t removed = 0;

    if (boot_consistent_index(server->backend, &consistent_index, err) < 0 ||
        force_new_cluster(boot, &server->boot, consistent_index, &removed, err) < 0)
        return -1;
    log_warn("forced a new cluster of one member", log_u64("removed-members", removed));
    return 0;
}

static void resolve_again(const char *url, const char *why)
{
    log_warn("failed to resolve URL Host", log_str("url", url), log_str("error", why));
}

/*
 * A member that joins: who is there, and which ids do they have? (Its URLs are those it was added
 * with, whatever it advertises.) One that does not: does none of them know it?
 *
 * own  our peer URLs as --initial-cluster spells them; owned by the caller
 */
static int ask_members(struct server *server, const struct boot_config *boot, char **own,
                       struct err *err)
{
    const struct config *config = server->config;
    struct resolve_wait wait = {.again = resolve_again};
    struct bootstrap expected = {0};
    struct bootstrap_wish wish = {.name = boot->name,
                                  .initial_cluster = boot->initial_cluster,
                                  .token = boot->token,
                                  .advertised = boot->joining ? NULL : boot->advertised_peer_urls,
                                  .resolve = resolve_url,
                                  .resolve_arg = &wait};
    struct join_config join_config = {.expected = &expected,
                                      .resolve = resolve_url,
                                      .resolve_arg = &wait,
                                      .tls = server->peer_dial_tls,
                                      .timeout_ms = 1000 + config->election_timeout_ms};
    int rc = -1;

    if (bootstrap_read(&wish, &expected, err) < 0)
        goto out;
    *own = bootstrap_own_urls(&expected);
    if (!boot->joining) {
        join_config.timeout_ms = BOOTSTRAPPED_ASK_MS;
        rc = join_not_bootstrapped(&join_config, err);
    } else {
        rc = join_cluster(&join_config, &server->joined, err);
    }
out:
    bootstrap_free(&expected);
    return rc;
}

/*
 * Members that DNS has named and no CA of the peers vouches for show the domain's name
 * (cli.md 1.11, pki.md 2.4). As in etcd that holds until the next start, which knows the members
 * from its data.
 */
static void name_peers(struct server *server, const struct discovered *found)
{
    const struct config *config = server->config;

    if (config->discovery_srv[0] == '\0' || config->peer_trusted_ca_file[0] != '\0' ||
        strstr(found->initial_cluster, "https://") == NULL || server->peer_dial_tls == NULL)
        return;
    tls_context_name(server->peer_dial_tls, config->discovery_srv);
    log_info(
        "peers have to show the name of the SRV domain, for there is no --peer-trusted-ca-file",
        log_str("domain", config->discovery_srv));
}

/* The database may become as large as its quota. */
static uint64_t bytes_to_lock(const struct config *config)
{
    if (!config->memory_mlock)
        return 0;
    return config->quota_backend_bytes > 0 ? (uint64_t)config->quota_backend_bytes : UINT64_MAX;
}

/* --bootstrap-defrag-threshold-megabytes */
static int defrag_at_start(struct server *server, struct err *err)
{
    uint64_t threshold_mib = server->config->bootstrap_defrag_threshold_megabytes;
    uint64_t before = backend_size(server->backend);
    uint64_t free_mib = (before - backend_size_in_use(server->backend)) / MIB;

    if (threshold_mib == 0)
        return 0;
    if (free_mib < threshold_mib) {
        log_info("skipping defragmentation", log_u64("free-mib", free_mib),
                 log_u64("threshold-mib", threshold_mib));
        return 0;
    }
    if (backend_defrag(server->backend, err) < 0 || datadir_relock(&server->dir, err) < 0)
        return -1;
    log_info("defragmented the database", log_u64("bytes-before", before),
             log_u64("bytes-after", backend_size(server->backend)));
    return 0;
}

int server_open_files(struct server *server, struct err *err)
{
    const struct config *config = server->config;
    struct backend_options backend = {.no_fsync = config->unsafe_no_fsync,
                                      .lock_bytes = bytes_to_lock(config)};
    char *advertised = server_list_text(&config->initial_advertise_peer_urls), *own = NULL;
    struct boot_config boot = {.dir = &server->dir,
                               .name = config->name,
                               .initial_cluster = config->initial_cluster,
                               .token = config->initial_cluster_token,
                               .advertised_peer_urls = advertised};
    struct discovered found = {0};
    struct boot_join joined;
    bool is_new = false;
    int rc = -1;

    boot.joining = strcmp(config->initial_cluster_state, "existing") == 0;
    if (check_dir(config->data_dir, err) < 0 || open_dir(server, err) < 0 ||
        boot_is_new(&server->dir, &is_new, err) < 0)
        goto out;
    if (is_new && server_discovers(config) && (!boot.joining || config->discovery_srv[0] != '\0')) {
        if (server_discover(config, &found, err) < 0)
            goto out;
        boot.initial_cluster = found.initial_cluster;
        boot.token = found.token;
        boot.advertised_peer_urls = found.advertised;
        name_peers(server, &found);
    }
    if (is_new && ask_members(server, &boot, &own, err) < 0)
        goto out;
    boot.advertised_peer_urls = own; /* NULL: were compared when the directory was made */
    if (is_new && boot.joining) {
        joined = (struct boot_join){server->joined.member_id, server->joined.cluster_id};
        boot.join = &joined;
    }
    if (boot_open_log(&boot, &server->boot, err) < 0)
        goto out;
    if (!server->boot.created)
        log_info("server has been already initialized", log_str("data-dir", config->data_dir));
    if (server->boot.log.torn_bytes != 0)
        log_warn("repaired the torn end of the log", log_u64("bytes", server->boot.log.torn_bytes));
    rc = boot_open_backend(&server->dir, &server->boot, &backend, &server->backend, err);
    if (rc == 0)
        rc = defrag_at_start(server, err);
    if (rc == 0 && config->force_new_cluster)
        rc = force_new(server, &boot, err);
out:
    discovered_free(&found);
    free(advertised);
    free(own);
    return rc;
}
