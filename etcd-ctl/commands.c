/* commands.c - the tables of etcd-ctl: flags, commands, old spellings. The commands of a group
 * stand together. */
#include "common/storage/snapshot_restore.h"
#include "etcd-ctl/ctl.h"

static const struct flag globals[] = {
    {"endpoints", 0, FLAG_LIST, CLIENT_ENDPOINTS_DEFAULT,
     "servers to ask: host:port, URL or unix socket"},
    {"write-out", 'w', FLAG_TEXT, "simple", "output format: simple, json, fields, table, protobuf"},
    {"hex", 0, FLAG_BOOL, "", "print bytes as \\xNN"},
    {"cacert", 0, FLAG_TEXT, "",
     "PEM file of the CAs that may have signed the server's certificate"},
    {"cert", 0, FLAG_TEXT, "", "PEM file of the client certificate"},
    {"key", 0, FLAG_TEXT, "", "PEM file of its private key"},
    {"insecure-transport", 0, FLAG_BOOL, "true",
     "no TLS for endpoints without scheme and certificates"},
    {"insecure-skip-tls-verify", 0, FLAG_BOOL, "", "take any server certificate"},
    {"user", 0, FLAG_TEXT, "", "NAME:PASSWORD, or NAME and a prompt"},
    {"password", 0, FLAG_TEXT, "", "password; then --user is the name alone"},
    {"max-request-bytes", 0, FLAG_INT, "0", "largest request that is sent; 0 is no limit"},
    {"max-recv-bytes", 0, FLAG_INT, "0", "largest answer that is taken, as JSON; 0 is 2 GiB"},
    {"command-timeout", 0, FLAG_DURATION, "5s", "time for one request"},
    {"dial-timeout", 0, FLAG_DURATION, "2s", "time for a connection to be made"},
    {"keepalive-time", 0, FLAG_DURATION, "2s", "a silent connection is probed after so long"},
    {"keepalive-timeout", 0, FLAG_DURATION, "6s", "and given up after so much longer"},
    {"discovery-srv", 'd', FLAG_TEXT, "", "domain whose SRV records name the servers"},
    {"discovery-srv-name", 0, FLAG_TEXT, "", "suffix of the service's name in DNS"},
    {"insecure-discovery", 0, FLAG_BOOL, "true", "take endpoints without TLS from DNS, too"},
    {"auth-jwt-token", 0, FLAG_TEXT, "", "a token to use instead of user and password"},
    {"debug", 0, FLAG_BOOL, "", "print settings and requests on standard error"},
};

static const struct flag put_flags[] = {
    {"lease", 0, FLAG_TEXT, "0", "lease (hex) that the key is attached to"},
    {"prev-kv", 0, FLAG_BOOL, "", "print the key and value before"},
    {"ignore-value", 0, FLAG_BOOL, "", "keep the present value"},
    {"ignore-lease", 0, FLAG_BOOL, "", "keep the present lease"},
};
static const struct flag get_flags[] = {
    {"prefix", 0, FLAG_BOOL, "", "all keys that begin with KEY"},
    {"from-key", 0, FLAG_BOOL, "", "all keys from KEY on"},
    {"limit", 0, FLAG_INT, "0", "at most so many keys; 0 is no limit"},
    {"rev", 0, FLAG_INT, "0", "as of this revision; 0 is the newest"},
    {"order", 0, FLAG_TEXT, "", "ASCEND or DESCEND"},
    {"sort-by", 0, FLAG_TEXT, "", "CREATE, KEY, MODIFY, VALUE or VERSION"},
    {"keys-only", 0, FLAG_BOOL, "", "keys without values"},
    {"count-only", 0, FLAG_BOOL, "", "only the count (with -w fields)"},
    {"print-value-only", 0, FLAG_BOOL, "", "values without keys"},
    {"consistency", 0, FLAG_TEXT, "l", "l (linearizable) or s (serializable)"},
    {"min-create-rev", 0, FLAG_INT, "0", "leave out keys created before; 0 is off"},
    {"max-create-rev", 0, FLAG_INT, "0", "leave out keys created later; 0 is off"},
    {"min-mod-rev", 0, FLAG_INT, "0", "leave out keys changed before; 0 is off"},
    {"max-mod-rev", 0, FLAG_INT, "0", "leave out keys changed later; 0 is off"},
    {"stream", 0, FLAG_BOOL, "", "print a page at a time, all as of one revision"},
};
static const struct flag del_flags[] = {
    {"prefix", 0, FLAG_BOOL, "", "all keys that begin with KEY"},
    {"from-key", 0, FLAG_BOOL, "", "all keys from KEY on"},
    {"prev-kv", 0, FLAG_BOOL, "", "print what was deleted"},
    {"range", 0, FLAG_BOOL, "", "a RANGE_END is meant"},
};
static const struct flag txn_flags[] = {
    {"interactive", 'i', FLAG_BOOL, "", "print what is asked for"},
};
static const struct flag compaction_flags[] = {
    {"physical", 0, FLAG_BOOL, "", "wait until the space is free"},
};
static const struct flag cluster_flags[] = {
    {"cluster", 0, FLAG_BOOL, "", "all client URLs of the member list"},
};
static const struct flag defrag_flags[] = {
    {"cluster", 0, FLAG_BOOL, "", "all client URLs of the member list"},
    {"data-dir", 0, FLAG_TEXT, "", "the directory of a server that is not running, instead"},
};
static const struct flag completion_flags[] = {
    {"no-descriptions", 0, FLAG_BOOL, "", "only the words"},
};
static const struct flag hashkv_flags[] = {
    {"cluster", 0, FLAG_BOOL, "", "all client URLs of the member list"},
    {"rev", 0, FLAG_INT, "0", "hash up to this revision; 0 is the newest"},
};
static const struct flag member_add_flags[] = {
    {"peer-urls", 0, FLAG_TEXT, "", "peer URLs of the new member"},
    {"learner", 0, FLAG_BOOL, "", "without a vote until it is promoted: the safe way"},
};
static const struct flag member_update_flags[] = {
    {"peer-urls", 0, FLAG_TEXT, "", "its new peer URLs"},
};
static const struct flag timetolive_flags[] = {
    {"keys", 0, FLAG_BOOL, "", "list the keys attached"},
};
static const struct flag keep_alive_flags[] = {
    {"once", 0, FLAG_BOOL, "", "renew it one time and end"},
};
static const struct flag restore_flags[] = {
    {"data-dir", 0, FLAG_TEXT, "", "directory to make; NAME.etcd when not given"},
    {"wal-dir", 0, FLAG_TEXT, "", "directory of the log; DATA-DIR/member/wal when not given"},
    {"name", 0, FLAG_TEXT, RESTORE_NAME_DEFAULT, "name of this member"},
    {"initial-cluster", 0, FLAG_TEXT, RESTORE_CLUSTER_DEFAULT, "NAME=PEER-URL of all members"},
    {"initial-cluster-token", 0, FLAG_TEXT, RESTORE_TOKEN_DEFAULT, "token of the cluster"},
    {"initial-advertise-peer-urls", 0, FLAG_TEXT, RESTORE_PEER_URLS_DEFAULT,
     "peer URLs of this member"},
    {"skip-hash-check", 0, FLAG_BOOL, "", "take a copied database too, which has no hash"},
    {"bump-revision", 0, FLAG_INT, "0", "add so much to the revision (with --mark-compacted)"},
    {"initial-memory-map-size", 0, FLAG_INT, "0", "accepted and without effect"},
    {"mark-compacted", 0, FLAG_BOOL, "", "count all history as compacted (with --bump-revision)"},
};
static const struct flag watch_flags[] = {
    {"interactive", 'i', FLAG_BOOL, "",
     "read lines `watch ...` and `progress` from standard input"},
    {"prefix", 0, FLAG_BOOL, "", "all keys that begin with KEY"},
    {"rev", 0, FLAG_INT, "0", "begin with the events of this revision; 0 is from now"},
    {"prev-kv", 0, FLAG_BOOL, "", "print the key and value before"},
    {"progress-notify", 0, FLAG_BOOL, "", "print the revision now and then while nothing happens"},
};
static const struct flag lock_flags[] = {
    {"ttl", 0, FLAG_INT, "10", "seconds after which the lock of a holder that is gone is free"},
};
static const struct flag elect_flags[] = {
    {"listen", 'l', FLAG_BOOL, "", "print every leader instead"},
};
static const struct flag make_mirror_flags[] = {
    {"prefix", 0, FLAG_TEXT, "", "only the keys that begin with this"},
    {"dest-prefix", 0, FLAG_TEXT, "", "what their prefix becomes there"},
    {"no-dest-prefix", 0, FLAG_BOOL, "", "their prefix is left out there"},
    {"rev", 0, FLAG_INT, "0", "no copy: follow from this revision on"},
    {"max-txn-ops", 0, FLAG_INT, "128", "most keys that are written in one step"},
    {"dest-cacert", 0, FLAG_TEXT, "", "PEM file of the CAs of the destination's servers"},
    {"dest-cert", 0, FLAG_TEXT, "", "PEM file of the client certificate for the destination"},
    {"dest-key", 0, FLAG_TEXT, "", "PEM file of its private key"},
    {"dest-insecure-transport", 0, FLAG_BOOL, "true",
     "no TLS for a destination without scheme and certificates"},
    {"dest-user", 0, FLAG_TEXT, "", "NAME:PASSWORD, or NAME and a prompt, for the destination"},
    {"dest-password", 0, FLAG_TEXT, "", "password; then --dest-user is the name alone"},
};
static const struct flag check_perf_flags[] = {
    {"load", 0, FLAG_TEXT, "s", "s (small), m (medium), l (large) or xl (xLarge)"},
    {"prefix", 0, FLAG_TEXT, "/etcdctl-check-perf/", "where its keys are written, and deleted"},
    {"auto-compact", 0, FLAG_BOOL, "", "compact when done"},
    {"auto-defrag", 0, FLAG_BOOL, "", "defragment when done"},
};
static const struct flag check_datascale_flags[] = {
    {"load", 0, FLAG_TEXT, "s", "s (small), m (medium), l (large) or xl (xLarge)"},
    {"prefix", 0, FLAG_TEXT, "/etcdctl-check-datascale/",
     "where its keys are written, and deleted"},
    {"auto-compact", 0, FLAG_BOOL, "", "compact when done"},
    {"auto-defrag", 0, FLAG_BOOL, "", "defragment when done"},
};
static const struct flag user_add_flags[] = {
    {"new-user-password", 0, FLAG_TEXT, "", "its password"},
    {"no-password", 0, FLAG_BOOL, "", "no password: only certificates"},
    {"interactive", 'i', FLAG_BOOL, "true", "ask for the password twice; false reads one line"},
};
static const struct flag user_passwd_flags[] = {
    {"interactive", 'i', FLAG_BOOL, "true", "ask for the password twice; false reads one line"},
};
static const struct flag user_get_flags[] = {
    {"detail", 0, FLAG_BOOL, "", "print its roles' permissions too"},
};
static const struct flag permission_flags[] = {
    {"prefix", 0, FLAG_BOOL, "", "all keys that begin with KEY"},
    {"from-key", 0, FLAG_BOOL, "", "all keys from KEY on"},
};

#define FLAGS(table) (table), ARRAY_LEN(table)
#define NO_FLAGS NULL, 0

static const struct command commands[] = {
    {"put", "KEY [VALUE]", "store a value (from standard input without VALUE)", FLAGS(put_flags),
     cmd_put, false},
    {"get", "KEY [RANGE_END]", "print a key or a range of keys", FLAGS(get_flags), cmd_get, false},
    {"del", "KEY [RANGE_END]", "delete a key or a range of keys", FLAGS(del_flags), cmd_del, false},
    {"txn", "", "compare and do, all in one step, from standard input", FLAGS(txn_flags), cmd_txn,
     false},
    {"compaction", "REVISION", "forget the history before a revision", FLAGS(compaction_flags),
     cmd_compaction, false},
    {"alarm disarm", "", "switch all alarms off", NO_FLAGS, cmd_alarm_disarm, false},
    {"alarm list", "", "print all alarms", NO_FLAGS, cmd_alarm_list, false},
    {"auth disable", "", "switch authentication off", NO_FLAGS, cmd_auth_disable, false},
    {"auth enable", "", "switch authentication on", NO_FLAGS, cmd_auth_enable, false},
    {"auth status", "", "is authentication on?", NO_FLAGS, cmd_auth_status, false},
    {"check datascale", "", "how much memory a server takes for many keys",
     FLAGS(check_datascale_flags), cmd_check_datascale, false},
    {"check perf", "", "does the cluster keep up with a load?", FLAGS(check_perf_flags),
     cmd_check_perf, false},
    {"completion bash", "", "print a script for bash", FLAGS(completion_flags), cmd_completion_bash,
     true},
    {"completion fish", "", "print a script for fish", FLAGS(completion_flags), cmd_completion_fish,
     true},
    {"completion powershell", "", "print a script for PowerShell", FLAGS(completion_flags),
     cmd_completion_powershell, true},
    {"completion zsh", "", "print a script for zsh", FLAGS(completion_flags), cmd_completion_zsh,
     true},
    {"defrag", "", "give free space of the database back to the file system", FLAGS(defrag_flags),
     cmd_defrag, false},
    {"downgrade cancel", "", "call a downgrade off", NO_FLAGS, cmd_downgrade_cancel, false},
    {"downgrade enable", "VERSION", "let members of the version before join", NO_FLAGS,
     cmd_downgrade_enable, false},
    {"downgrade validate", "VERSION", "could the cluster go back to a version?", NO_FLAGS,
     cmd_downgrade_validate, false},
    {"elect", "NAME [PROPOSAL]", "be a candidate, and lead until interrupted", FLAGS(elect_flags),
     cmd_elect, false},
    {"endpoint hashkv", "", "hash of the keys and revisions of each endpoint", FLAGS(hashkv_flags),
     cmd_endpoint_hashkv, false},
    {"endpoint health", "", "does each endpoint answer?", FLAGS(cluster_flags), cmd_endpoint_health,
     false},
    {"endpoint status", "", "state of each endpoint", FLAGS(cluster_flags), cmd_endpoint_status,
     false},
    {"lease grant", "TTL", "make a lease of TTL seconds", NO_FLAGS, cmd_lease_grant, false},
    {"lease keep-alive", "ID", "renew a lease until it is gone", FLAGS(keep_alive_flags),
     cmd_lease_keep_alive, false},
    {"lease list", "", "print all leases", NO_FLAGS, cmd_lease_list, false},
    {"lease revoke", "ID", "end a lease and delete its keys", NO_FLAGS, cmd_lease_revoke, false},
    {"lease timetolive", "ID", "print a lease", FLAGS(timetolive_flags), cmd_lease_timetolive,
     false},
    {"lock", "NAME [COMMAND ARG...]", "hold a lock until interrupted, or while a command runs",
     FLAGS(lock_flags), cmd_lock, false},
    {"make-mirror", "DESTINATION", "copy keys to another cluster, and follow their changes",
     FLAGS(make_mirror_flags), cmd_make_mirror, false},
    {"member add", "NAME --peer-urls=URLS", "add a member, best as a learner first",
     FLAGS(member_add_flags), cmd_member_add, false},
    {"member list", "", "print the members", NO_FLAGS, cmd_member_list, false},
    {"member promote", "ID", "let a learner vote", NO_FLAGS, cmd_member_promote, false},
    {"member remove", "ID", "remove a member", NO_FLAGS, cmd_member_remove, false},
    {"member update", "ID --peer-urls=URLS", "change a member's peer URLs",
     FLAGS(member_update_flags), cmd_member_update, false},
    {"move-leader", "ID", "make another member leader", NO_FLAGS, cmd_move_leader, false},
    {"options", "", "print the global flags", NO_FLAGS, cmd_options, true},
    {"role add", "ROLE", "make a role", NO_FLAGS, cmd_role_add, false},
    {"role delete", "ROLE", "delete a role", NO_FLAGS, cmd_role_delete, false},
    {"role get", "ROLE", "print a role's permissions", NO_FLAGS, cmd_role_get, false},
    {"role grant-permission", "ROLE read|write|readwrite KEY [END]", "allow a role to use keys",
     FLAGS(permission_flags), cmd_role_grant_permission, false},
    {"role list", "", "print all roles", NO_FLAGS, cmd_role_list, false},
    {"role revoke-permission", "ROLE KEY [END]", "take a permission back", FLAGS(permission_flags),
     cmd_role_revoke_permission, false},
    {"snapshot restore", "FILE", "make a data directory from a snapshot", FLAGS(restore_flags),
     cmd_snapshot_restore, true},
    {"snapshot save", "FILE", "save the database of one endpoint", NO_FLAGS, cmd_snapshot_save,
     false},
    {"snapshot status", "FILE", "print what is in a snapshot", NO_FLAGS, cmd_snapshot_status, true},
    {"user add", "NAME[:PASSWORD]", "make a user", FLAGS(user_add_flags), cmd_user_add, false},
    {"user delete", "NAME", "delete a user", NO_FLAGS, cmd_user_delete, false},
    {"user get", "NAME", "print a user's roles", FLAGS(user_get_flags), cmd_user_get, false},
    {"user grant-role", "NAME ROLE", "give a role to a user", NO_FLAGS, cmd_user_grant_role, false},
    {"user list", "", "print all users", NO_FLAGS, cmd_user_list, false},
    {"user passwd", "NAME", "change a user's password", FLAGS(user_passwd_flags), cmd_user_passwd,
     false},
    {"user revoke-role", "NAME ROLE", "take a role from a user", NO_FLAGS, cmd_user_revoke_role,
     false},
    {"version", "", "print the version", NO_FLAGS, cmd_version, true},
    {"watch", "KEY [RANGE_END] [-- COMMAND ARG...]", "print events, and run a command for each",
     FLAGS(watch_flags), cmd_watch, false},
};

static const struct alias aliases[] = {
    {"cert-file", "cert"},          {"key-file", "key"},
    {"ca-file", "cacert"},          {"peers", "endpoints"},
    {"endpoint", "endpoints"},      {"-C", "endpoints"},
    {"timeout", "command-timeout"}, {"total-timeout", "command-timeout"},
    {"username", "user"},           {"-u", "user"},
};

static const struct old_word old_words[] = {
    {"ls", "get DIR --prefix --keys-only"},
    {"set", "put KEY VALUE"},
    {"mk", "put KEY VALUE"},
    {"update", "put KEY VALUE"},
    {"rm", "del KEY (--prefix for all below it)"},
    {"rmdir", "del DIR --prefix"},
    {"cluster-health", "endpoint health --cluster"},
    {"backup", "snapshot save FILE"},
};

static const struct lax_command lax[] = {
    {"put", 2},
    {"get", 2},
    {"lease list", 0},
    {"member list", 0},
    {"defrag", 0},
    {"endpoint health", 0},
    {"watch", 2},
    {"check perf", 0},
    {"endpoint status", 0},
    {"check datascale", 0},
    {"role grant-permission", 4},
    {"endpoint hashkv", 0},
    {"role revoke-permission", 3},
};

const struct grammar ctl_grammar = {
    .commands = commands,
    .command_count = ARRAY_LEN(commands),
    .globals = globals,
    .global_count = ARRAY_LEN(globals),
    .aliases = aliases,
    .alias_count = ARRAY_LEN(aliases),
    .old_words = old_words,
    .old_word_count = ARRAY_LEN(old_words),
    .lax = lax,
    .lax_count = ARRAY_LEN(lax),
};
