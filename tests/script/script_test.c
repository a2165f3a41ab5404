/*
 * script_test.c - runs every tests/script/(name).txt: a cluster of raft alone, driven by text.
 *
 * A line "> command; command" acts; the lines behind it are what must come of it: what was noted,
 * then each member whose state is not what it last was. "#" starts a comment. Between commands
 * every disk answers and every message arrives, in order, unless it is told otherwise.
 * SCRIPT_UPDATE=1 writes what came out into the files, to be read as a diff.
 *
 *   start a b c learner d spare e   a, b, c vote; e is empty and not a member yet
 *   elect a | tick a b N | propose a x=1 | read a ID | transfer a b | compact a KEEP
 *   add a d | learner a d | remove a b         asks a for a configuration change
 *   joint a implicit|explicit +d -b ~c | leave a
 *   cut a b | c d | oneway a b | heal | unreachable a b
 *   hold | release | deliver a b [N] | drop a b [N] | dup a b | swap a b    messages wait and move
 *   stall a | unstall a | write a              the disk does not answer; answers once
 *   crash a [WRITES [ENTRIES]] | restart a     of what was under way so much is on the disk
 *   show | net | log a | conf a | forget       forget: show nothing of what changed so far
 */
#include "common/base/base.h"
#include "common/base/file.h"
#include "tests/lib/raft_cluster.h"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define WORDS_MAX 16
#define STATE_MAX 96

struct script {
    struct cluster cluster;
    bool started, hold;
    struct buf out;
    char shown[CLUSTER_MEMBERS_MAX][STATE_MAX];
    const char *path;
};

static const char *const roles[] = {"follower", "precandidate", "candidate", "leader"};
static const char *const types[] = {"Hup",           "Beat",          "Prop",        "App",
                                    "AppResp",       "Vote",          "VoteResp",    "Snap",
                                    "Heartbeat",     "HeartbeatResp", "Unreachable", "SnapStatus",
                                    "CheckQuorum",   "Transfer",      "TimeoutNow",  "ReadIndex",
                                    "ReadIndexResp", "PreVote",       "PreVoteResp"};

static char name_of(uint64_t id)
{
    return (char)('a' + id - 1);
}

static uint64_t id_of(const struct script *script, const char *word)
{
    if (word == NULL || word[0] < 'a' || word[0] >= 'a' + CLUSTER_MEMBERS_MAX || word[1] != '\0')
        fail_msg("%s: \"%s\" is not a member", script->path, word != NULL ? word : "");
    return (uint64_t)(word[0] - 'a' + 1);
}

static void note(struct cluster *cluster, const char *text)
{
    struct script *script = cluster->note_arg;

    buf_printf(&script->out, "%s\n", text);
}

/* ---- what is shown ---- */

static void state_text(const struct cluster_member *member, char *text)
{
    const struct raft *raft = member->raft;
    int size;

    if (raft == NULL) {
        (void)snprintf(text, STATE_MAX, "%c crashed", name_of(member->id));
        return;
    }
    size = snprintf(text, STATE_MAX, "%c %s term=%" PRIu64 " last=%" PRIu64 " commit=%" PRIu64,
                    name_of(member->id), roles[raft_role(raft)], raft_term(raft),
                    raft_last_index(raft), raft_commit_index(raft));
    if (raft_role(raft) != RAFT_LEADER && raft_leader(raft) != 0)
        size +=
            snprintf(text + size, STATE_MAX - (size_t)size, " of %c", name_of(raft_leader(raft)));
    if (member->applied != raft_commit_index(raft))
        (void)snprintf(text + size, STATE_MAX - (size_t)size, " applied=%" PRIu64, member->applied);
}

static void show(struct script *script, bool all, bool print)
{
    for (size_t i = 0; i < script->cluster.member_count; i++) {
        char text[STATE_MAX];

        state_text(&script->cluster.members[i], text);
        if (!all && strcmp(text, script->shown[i]) == 0)
            continue;
        if (print)
            buf_printf(&script->out, "%s\n", text);
        memcpy(script->shown[i], text, sizeof(text));
    }
}

static void show_log(struct script *script, uint64_t id)
{
    const struct raft *raft = cluster_member(&script->cluster, id)->raft;

    buf_printf(&script->out, "%c log", name_of(id));
    for (uint64_t index = raft_first_index(raft); index <= raft_last_index(raft); index++) {
        const struct raft_entry *entry = raft_entry_at(raft, index);

        buf_printf(&script->out, " %" PRIu64 ":%" PRIu64, index, entry->term);
        if (entry->type != RAFT_ENTRY_NORMAL)
            buf_append_text(&script->out, "(conf)");
        else if (entry->data.size != 0)
            buf_printf(&script->out, "(%.*s)", (int)entry->data.size,
                       (const char *)entry->data.data);
    }
    buf_append_text(&script->out, "\n");
}

static void show_ids(struct script *script, const char *what, const uint64_t *ids, size_t count)
{
    if (count == 0)
        return;
    buf_printf(&script->out, " %s", what);
    for (size_t i = 0; i < count; i++)
        buf_printf(&script->out, "%c%c", i == 0 ? '=' : ',', name_of(ids[i]));
}

static void show_conf(struct script *script, uint64_t id)
{
    const struct raft_conf_state *conf =
        raft_conf_state(cluster_member(&script->cluster, id)->raft);

    buf_printf(&script->out, "%c conf", name_of(id));
    show_ids(script, "voters", conf->voters, conf->voter_count);
    show_ids(script, "outgoing", conf->voters_outgoing, conf->voter_outgoing_count);
    show_ids(script, "learners", conf->learners, conf->learner_count);
    show_ids(script, "learners-next", conf->learners_next, conf->learner_next_count);
    buf_append_text(&script->out, conf->auto_leave ? " auto-leave\n" : "\n");
}

static void show_net(struct script *script)
{
    for (size_t i = 0; i < script->cluster.packet_count; i++) {
        const struct cluster_packet *packet = &script->cluster.packets[i];
        struct raft_message message;
        struct err err = ERR_INIT;
        struct arena arena;

        arena_init(&arena, 1UL << 20);
        must(raft_message_decode(buf_slice(&packet->bytes), &arena, &message, &err) == 0);
        buf_printf(&script->out, "%c>%c %s term=%" PRIu64, name_of(packet->from),
                   name_of(packet->to), types[message.type], message.term);
        if (message.type == RAFT_MSG_APP)
            buf_printf(&script->out, " after=%" PRIu64 ":%" PRIu64 " entries=%zu commit=%" PRIu64,
                       message.index, message.log_term, message.entry_count, message.commit);
        else if (message.type == RAFT_MSG_APP_RESP && message.reject)
            buf_printf(&script->out, " index=%" PRIu64 " rejected hint=%" PRIu64 ":%" PRIu64,
                       message.index, message.reject_hint, message.log_term);
        else if (message.type == RAFT_MSG_SNAP)
            buf_printf(&script->out, " snapshot=%" PRIu64 ":%" PRIu64, message.snapshot->meta.index,
                       message.snapshot->meta.term);
        else if (message.index != 0)
            buf_printf(&script->out, " index=%" PRIu64, message.index);
        if (message.type != RAFT_MSG_APP_RESP && message.reject)
            buf_append_text(&script->out, " rejected");
        buf_append_text(&script->out, "\n");
        arena_free(&arena);
    }
}

/* ---- commands ---- */

static void answer_disks(struct script *script)
{
    for (size_t i = 0; i < script->cluster.member_count; i++) {
        struct cluster_member *member = &script->cluster.members[i];

        while (member->raft != NULL && !member->stalled && member->write_count != 0)
            cluster_write_done(&script->cluster, member->id);
    }
}

static void quiet(struct script *script)
{
    if (script->hold)
        answer_disks(script);
    else
        cluster_settle(&script->cluster);
}

static void step(struct script *script, uint64_t id, struct raft_event event)
{
    enum err_code code = cluster_step(&script->cluster, id, &event);

    if (code != ERR_OK)
        buf_printf(&script->out, "%c refused: %s\n", name_of(id),
                   err_text(code)[0] != '\0' ? err_text(code) : "failure");
    quiet(script);
}

static void start(struct script *script, char **words, size_t count)
{
    struct raft_conf_state conf = {0};
    bool learner = false, spare = false;
    size_t members = 0;

    for (size_t i = 1; i < count; i++) {
        if (strcmp(words[i], "learner") == 0 || strcmp(words[i], "spare") == 0) {
            learner = words[i][0] == 'l';
            spare = words[i][0] == 's';
            continue;
        }
        members++;
        must(id_of(script, words[i]) == members); /* a, b, c in this order */
        if (learner)
            conf.learners[conf.learner_count++] = members;
        else if (!spare)
            conf.voters[conf.voter_count++] = members;
    }
    if (script->started)
        cluster_fini(&script->cluster); /* a second cluster in the same script */
    cluster_init(&script->cluster, members, &conf, 1);
    script->cluster.note = note;
    script->cluster.note_arg = script;
    script->started = true;
}

static void tick(struct script *script, char **words, size_t count)
{
    long ticks = strtol(words[count - 1], NULL, 10);

    if (ticks == 0) {
        ticks = 1;
        count++;
    }
    for (long at = 0; at < ticks; at++)
        for (size_t i = 1; i + 1 < count; i++)
            step(script, id_of(script, words[i]), (struct raft_event){.type = RAFT_EVENT_TICK});
}

static void cut(struct script *script, char **words, size_t count)
{
    bool second[CLUSTER_MEMBERS_MAX + 1] = {false}, in_second = false;

    for (size_t i = 1; i < count; i++) {
        if (strcmp(words[i], "|") == 0)
            in_second = true;
        else
            second[id_of(script, words[i])] = in_second;
    }
    for (size_t i = 1; i < count; i++)
        for (size_t at = 1; at < count; at++)
            if (words[i][0] != '|' && words[at][0] != '|') {
                uint64_t from = id_of(script, words[i]), to = id_of(script, words[at]);

                if (second[from] != second[to])
                    script->cluster.cut[from][to] = true;
            }
}

static void change(struct script *script, char **words, enum raft_conf_change_type type)
{
    struct raft_conf_change one = {.type = type, .node_id = id_of(script, words[2])};
    struct buf bytes = BUF_INIT(BUF_UNLIMITED);

    must(raft_conf_change_encode(&one, &bytes));
    step(script, id_of(script, words[1]),
         (struct raft_event){.type = RAFT_EVENT_PROPOSE,
                             .entry_type = RAFT_ENTRY_CONF_CHANGE,
                             .data = buf_slice(&bytes)});
    buf_free(&bytes);
}

static void joint(struct script *script, char **words, size_t count)
{
    struct raft_conf_change_v2 many = {0};
    struct buf bytes = BUF_INIT(BUF_UNLIMITED);

    for (size_t i = 2; i < count; i++) {
        struct raft_conf_change_single *one = &many.changes[many.change_count];

        if (strcmp(words[i], "implicit") == 0 || strcmp(words[i], "explicit") == 0) {
            many.transition =
                words[i][0] == 'i' ? RAFT_CONF_JOINT_IMPLICIT : RAFT_CONF_JOINT_EXPLICIT;
            continue;
        }
        one->type = words[i][0] == '+'   ? RAFT_CONF_ADD_NODE
                    : words[i][0] == '-' ? RAFT_CONF_REMOVE_NODE
                                         : RAFT_CONF_ADD_LEARNER;
        one->node_id = id_of(script, words[i] + 1);
        many.change_count++;
    }
    must(raft_conf_change_v2_encode(&many, &bytes));
    step(script, id_of(script, words[1]),
         (struct raft_event){.type = RAFT_EVENT_PROPOSE,
                             .entry_type = RAFT_ENTRY_CONF_CHANGE_V2,
                             .data = buf_slice(&bytes)});
    buf_free(&bytes);
}

/* The first `count` messages from one to another (all = 0). */
static void move_messages(struct script *script, char **words, size_t count)
{
    struct cluster *cluster = &script->cluster;
    uint64_t from = id_of(script, words[1]), to = id_of(script, words[2]);
    long limit = count > 3 ? strtol(words[3], NULL, 10) : 1;
    size_t before = cluster->packet_count;

    for (size_t at = 0; at < before && limit != 0;) {
        if (cluster->packets[at].from != from || cluster->packets[at].to != to) {
            at++;
            continue;
        }
        if (strcmp(words[0], "dup") == 0) {
            cluster_duplicate(cluster, at++);
        } else if (strcmp(words[0], "swap") == 0) { /* the first becomes the last */
            cluster_duplicate(cluster, at);
            cluster_drop(cluster, at);
        } else if (strcmp(words[0], "drop") == 0) {
            cluster_drop(cluster, at);
            before--;
        } else {
            cluster_deliver(cluster, at);
            before--;
        }
        limit--;
    }
    answer_disks(script);
}

static bool do_member(struct script *script, char **words, size_t count)
{
    uint64_t id = count > 1 && words[1][1] == '\0' ? id_of(script, words[1]) : 0;
    size_t first = count > 2 ? strtoul(words[2], NULL, 10) : 0;
    size_t second = count > 3 ? strtoul(words[3], NULL, 10) : 0;

    if (id == 0)
        return false;
    if (strcmp(words[0], "crash") == 0)
        cluster_crash(&script->cluster, id, first, second);
    else if (strcmp(words[0], "restart") == 0)
        cluster_restart(&script->cluster, id);
    else if (strcmp(words[0], "stall") == 0 || strcmp(words[0], "unstall") == 0)
        cluster_member(&script->cluster, id)->stalled = words[0][0] == 's';
    else if (strcmp(words[0], "write") == 0)
        cluster_write_done(&script->cluster, id);
    else if (strcmp(words[0], "compact") == 0)
        cluster_compact(&script->cluster, id, first);
    else if (strcmp(words[0], "log") == 0)
        show_log(script, id);
    else if (strcmp(words[0], "conf") == 0)
        show_conf(script, id);
    else
        return false;
    return true;
}

static bool do_event(struct script *script, char **words, size_t count)
{
    struct raft_event event = {0};

    if (strcmp(words[0], "elect") == 0 && count == 2) {
        event.type = RAFT_EVENT_CAMPAIGN;
    } else if (strcmp(words[0], "propose") == 0 && count == 3) {
        event.type = RAFT_EVENT_PROPOSE;
        event.data = slice_text(words[2]);
    } else if (strcmp(words[0], "read") == 0 && count == 3) {
        event.type = RAFT_EVENT_READ;
        event.read_id = strtoul(words[2], NULL, 10);
    } else if (strcmp(words[0], "transfer") == 0 && count == 3) {
        event.type = RAFT_EVENT_TRANSFER;
        event.member = id_of(script, words[2]);
    } else if (strcmp(words[0], "unreachable") == 0 && count == 3) {
        event.type = RAFT_EVENT_UNREACHABLE;
        event.member = id_of(script, words[2]);
    } else {
        return false;
    }
    step(script, id_of(script, words[1]), event);
    return true;
}

static bool do_change(struct script *script, char **words, size_t count)
{
    if (strcmp(words[0], "add") == 0 && count == 3)
        change(script, words, RAFT_CONF_ADD_NODE);
    else if (strcmp(words[0], "learner") == 0 && count == 3)
        change(script, words, RAFT_CONF_ADD_LEARNER);
    else if (strcmp(words[0], "remove") == 0 && count == 3)
        change(script, words, RAFT_CONF_REMOVE_NODE);
    else if (strcmp(words[0], "joint") == 0 || strcmp(words[0], "leave") == 0)
        joint(script, words, count);
    else
        return false;
    return true;
}

static bool do_network(struct script *script, char **words, size_t count)
{
    if (strcmp(words[0], "cut") == 0)
        cut(script, words, count);
    else if (strcmp(words[0], "oneway") == 0)
        script->cluster.cut[id_of(script, words[1])][id_of(script, words[2])] = true;
    else if (strcmp(words[0], "heal") == 0)
        memset(script->cluster.cut, 0, sizeof(script->cluster.cut));
    else if (strcmp(words[0], "hold") == 0 || strcmp(words[0], "release") == 0)
        script->hold = words[0][0] == 'h';
    else if (strcmp(words[0], "deliver") == 0 || strcmp(words[0], "drop") == 0 ||
             strcmp(words[0], "dup") == 0 || strcmp(words[0], "swap") == 0)
        move_messages(script, words, count);
    else if (strcmp(words[0], "net") == 0)
        show_net(script);
    else
        return false;
    return true;
}

static void command(struct script *script, char *text)
{
    char *words[WORDS_MAX], *rest = NULL;
    size_t count = 0;

    for (char *word = strtok_r(text, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        must(count < WORDS_MAX);
        words[count++] = word;
    }
    if (count == 0)
        return;
    if (strcmp(words[0], "start") == 0) {
        start(script, words, count);
    } else if (strcmp(words[0], "tick") == 0) {
        tick(script, words, count);
    } else if (strcmp(words[0], "show") == 0 || strcmp(words[0], "forget") == 0) {
        show(script, true, words[0][0] == 's');
    } else if (!do_event(script, words, count) && !do_change(script, words, count) &&
               !do_network(script, words, count) && !do_member(script, words, count)) {
        fail_msg("%s: unknown command \"%s\"", script->path, words[0]);
    }
    quiet(script);
}

static void act(struct script *script, const char *line)
{
    char *commands = xstrdup(line + 1), *rest = NULL;

    buf_printf(&script->out, "%s\n", line);
    for (char *one = strtok_r(commands, ";", &rest); one != NULL; one = strtok_r(NULL, ";", &rest))
        command(script, one);
    show(script, false, true);
    if (script->cluster.failure[0] != '\0')
        buf_printf(&script->out, "BROKEN %s\n", script->cluster.failure);
    free(commands);
}

/* ---- files ---- */

/* What the file says, without comments behind a line's text and without blanks at the end. */
static void clean_line(char *line)
{
    char *comment = line[0] != '#' ? strstr(line, " #") : NULL;
    size_t size;

    if (comment != NULL)
        *comment = '\0';
    for (size = strlen(line); size > 0 && line[size - 1] == ' '; size--)
        line[size - 1] = '\0';
}

static void run_lines(struct script *script, char *text, struct buf *expected)
{
    char *line = text;

    while (*line != '\0') {
        char *end = strchr(line, '\n');

        if (end != NULL)
            *end = '\0';
        clean_line(line);
        buf_printf(expected, "%s\n", line);
        if (line[0] == '>')
            act(script, line);
        else if (line[0] == '#' || line[0] == '\0')
            buf_printf(&script->out, "%s\n", line);
        if (end == NULL)
            break;
        line = end + 1;
    }
}

static bool same(const char *path, struct buf *expected, struct buf *out)
{
    const char *want = buf_text(expected), *got = buf_text(out);
    size_t at = 0, line_start = 0;

    if (strcmp(want, got) == 0)
        return true;
    for (; want[at] == got[at]; at++)
        if (want[at] == '\n')
            line_start = at + 1;
    print_error("%s: expected \"%.*s\", got \"%.*s\"\n", path,
                (int)strcspn(want + line_start, "\n"), want + line_start,
                (int)strcspn(got + line_start, "\n"), got + line_start);
    return false;
}

static bool run_file(const char *path)
{
    struct script *script = xalloc(sizeof(*script));
    struct buf bytes = BUF_INIT(BUF_UNLIMITED), expected = BUF_INIT(BUF_UNLIMITED);
    struct err err = ERR_INIT;
    bool ok;

    script->path = path;
    script->out = BUF_INIT(BUF_UNLIMITED);
    if (file_read_all(path, &bytes, &err) < 0)
        fail_msg("%s", err.text);
    char *text = xstrndup(buf_text(&bytes), buf_used(&bytes));
    run_lines(script, text, &expected);
    ok = same(path, &expected, &script->out);
    if (!ok && getenv("SCRIPT_UPDATE") != NULL) {
        FILE *file = fopen(path, "w");

        must(file != NULL);
        (void)fputs(buf_text(&script->out), file);
        (void)fclose(file);
    }
    free(text);
    if (script->started)
        cluster_fini(&script->cluster);
    buf_free(&script->out);
    buf_free(&bytes);
    buf_free(&expected);
    free(script);
    return ok;
}

static void test_scripts(void **state)
{
    glob_t files;
    size_t failed = 0;

    (void)state;
    assert_int_equal(glob("tests/script/*.txt", 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++)
        failed += !run_file(files.gl_pathv[i]);
    print_message("scripts: %zu\n", files.gl_pathc);
    globfree(&files);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scripts)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
