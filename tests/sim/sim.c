/*
 * sim.c - runs seeds: sim [--seed=N] [--runs=N] [--members=N] [--plant=N] [--file=PATH] [--twice]
 *         [--trace] | sim --plants [--seed=N] [--runs=N]
 *
 * Seeds N, N + 1, ...; each prints nothing unless it fails; then its seed, what does not hold, and
 * how to run it again. --file runs the seeds of a file, --twice each seed two times, whose traces
 * must be equal. Without --members a seed decides on how many there are. With --plant a failure is
 * what is wanted: it says after how many seeds it came.
 */
#include "tests/sim/sim.h"
#include "common/base/log.h"
#include "common/base/plants.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct arguments {
    uint64_t seed, runs;
    const char *file;
    bool twice, trace, plants;
    unsigned plant, members;
};

/* What a failure prints; the only things that outlive a seed. */
static uint64_t current_seed, seeds_done;
static unsigned current_plant, current_members;

#ifdef SIM_PLANTS
enum plant planted;
#endif

#define PLANT_WORDS(name, words) [PLANT_##name] = words,
static const char *const plant_words[PLANT_COUNT] = {PLANTS(PLANT_WORDS)};
#undef PLANT_WORDS

/* ---- failing ---- */

_Noreturn static void fail_seed(void)
{
    if (current_plant != PLANT_NONE) {
        printf("plant %u (%s): found after %" PRIu64 " seeds\n", current_plant,
               plant_words[current_plant], seeds_done + 1);
        fflush(stdout);
        _exit(0);
    }
    fprintf(stderr, "  seed %" PRIu64 "; again: make sim SEED=%" PRIu64 " RUNS=1 MEMBERS=%u\n",
            current_seed, current_seed, current_members);
    _exit(1);
}

void sim_violation(struct sim *sim, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fprintf(current_plant != PLANT_NONE ? stdout : stderr,
            "violation at %" PRIu64 " ms: ", sim->now_ms);
    vfprintf(current_plant != PLANT_NONE ? stdout : stderr, format, args);
    va_end(args);
    fputc('\n', current_plant != PLANT_NONE ? stdout : stderr);
    fail_seed();
}

/* must() has printed its condition. */
static void on_abort(int number)
{
    (void)number;
    fail_seed();
}

/* ---- chance and trace ---- */

uint64_t sim_draw(struct sim *sim, uint64_t below)
{
    uint64_t x = sim->random += 0x9e3779b97f4a7c15U; /* splitmix64 */

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    x ^= x >> 31;
    return below == 0 ? 0 : x % below;
}

bool sim_chance(struct sim *sim, unsigned of_1000)
{
    return sim_draw(sim, 1000) < of_1000;
}

void sim_trace_bytes(struct sim *sim, struct slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        sim->trace = (sim->trace ^ bytes.data[i]) * 0x100000001b3U; /* FNV-1a */
}

void sim_trace(struct sim *sim, const char *what, uint64_t a, uint64_t b)
{
    uint64_t numbers[3] = {a, b, sim->now_ms};

    sim_trace_bytes(sim, slice_text(what));
    sim_trace_bytes(sim, slice_of(numbers, sizeof(numbers)));
    if (sim->verbose)
        printf("%8" PRIu64 " %s %" PRIu64 " %" PRIu64 "\n", sim->now_ms, what, a, b);
}

/* ---- a seed ---- */

static void draw_options(struct sim *sim)
{
    struct sim_options *options = &sim->options;
    bool storms = sim_chance(sim, 700); /* else a member without faults but crashes */

    options->segment_bytes = 2048U << sim_draw(sim, 5);
    options->snapshot_count = 4U << sim_draw(sim, 7);
    options->max_snapshots = 1 + sim_draw(sim, 4);
    options->max_wals = 1 + sim_draw(sim, 4);
    options->batch_interval_ms = sim_draw(sim, 2) == 0 ? 0 : sim_draw(sim, 300);
    options->batch_limit = 1U << sim_draw(sim, 10);
    options->compaction_batch = 1U << sim_draw(sim, 7);
    options->compaction_sleep_ms = sim_draw(sim, 30);
    options->quota_bytes = sim_chance(sim, 150) ? (int64_t)(40000 + sim_draw(sim, 100000)) : -1;
    options->log_delay_ms = sim_draw(sim, 2) == 0 ? 1 : sim_draw(sim, 60);
    options->commit_delay_ms = sim_draw(sim, 2) == 0 ? 2 : sim_draw(sim, 400);
    options->job_delay_ms = sim_draw(sim, 100);
    options->call_gap_ms = 1 + sim_draw(sim, sim_chance(sim, 500) ? 6 : 60);
    options->value_bytes = 8U << sim_draw(sim, 7);
    options->calls = 100 + (unsigned)sim_draw(sim, 300);
    options->keys = 3 + (unsigned)sim_draw(sim, 20);
    options->crash_1000 = (unsigned)sim_draw(sim, 25);
    options->fault_1000 = storms ? (unsigned)sim_draw(sim, 25) : 0;
    options->full_disk_writes = sim_chance(sim, 700);
    options->catchup_entries = sim_chance(sim, 600) ? 1 + sim_draw(sim, 30) : 0;
}

/* A backend that lags is soon too far behind. Drawn from a sequence of its own: what else a seed
 * decides stays as it was. */
static void draw_buffers(struct sim *sim)
{
    struct sim own = {.random = ~sim->seed};
    struct sim_options *options = &sim->options;

    if (sim_chance(&own, 800)) /* else snapshots are rare */
        options->log_kept_bytes = 500 + sim_draw(&own, sim_chance(&own, 500) ? 2000 : 20000);
    if (sim_chance(&own, 300))
        options->snapshot_bytes = 1000 + sim_draw(&own, 10000);
    if (!sim_chance(&own, 300))
        return;
    options->write_buffer_bytes = 5000 + sim_draw(&own, 8000); /* a small batch has 5000 */
    options->waiting_bytes = 200 + sim_draw(&own, 5000);
    options->backlog_bytes = options->write_buffer_bytes + sim_draw(&own, 8000);
    options->commit_delay_ms = 50 + sim_draw(&own, 400);
}

static void draw_network(struct sim *sim, unsigned members)
{
    static const unsigned sizes[] = {1, 3, 3, 3, 5, 5, 7};
    struct sim_options *options = &sim->options;
    bool storms = sim_chance(sim, 700);

    options->members = sizes[sim_draw(sim, ARRAY_LEN(sizes))];
    if (members != 0) /* the rest is drawn alike */
        options->members = members;
    options->net_delay_ms = sim_draw(sim, 2) == 0 ? 3 : sim_draw(sim, 80);
    options->net_loss_1000 = storms ? (unsigned)sim_draw(sim, 60) : 0;
    options->net_twice_1000 = storms ? (unsigned)sim_draw(sim, 60) : 0;
    options->net_late_1000 = storms ? (unsigned)sim_draw(sim, 30) : 0;
    options->net_in_order = sim_chance(sim, 300);
    options->partition_1000 = storms ? (unsigned)sim_draw(sim, 50) : 0;
    options->change_1000 = sim_chance(sim, 600) ? (unsigned)sim_draw(sim, 80) : 0;
    options->still_1000 = storms ? 1 + (unsigned)sim_draw(sim, 10) : 1;
    options->clock_skew_1000 = sim_chance(sim, 400) ? 0 : (unsigned)sim_draw(sim, 100);
    if (options->members == 1)
        options->change_1000 = options->partition_1000 = 0;
    current_members = options->members;
}

static void draw_checks(struct sim *sim)
{
    struct sim_options *options = &sim->options;

    options->check_at_start = sim_chance(sim, 500);
    options->check_ms = sim_chance(sim, 500) ? 300 + sim_draw(sim, 3000) : 0;
    options->check_compacted_ms = sim_chance(sim, 500) ? 300 + sim_draw(sim, 3000) : 0;
    if (options->members == 1 || !sim_chance(sim, 200))
        return;
    options->damage = (enum sim_damage)(1 + sim_draw(sim, 3));
    options->check_at_start = options->check_at_start || options->damage == SIM_DAMAGE_START;
    if (options->damage == SIM_DAMAGE_WHOLE && options->check_ms == 0)
        options->check_ms = 1000;
    if (options->damage == SIM_DAMAGE_COMPACTED && options->check_compacted_ms == 0)
        options->check_compacted_ms = 1000;
}

static uint64_t run_seed(uint64_t seed, unsigned members, bool trace)
{
    struct sim *sim = xalloc(sizeof(*sim));
    uint64_t hash;

    current_seed = seed;
    sim->seed = sim->random = seed;
    sim->verbose = trace;
    sim->trace = 0xcbf29ce484222325U;
    draw_options(sim);
    draw_buffers(sim);
    draw_network(sim, members);
    draw_checks(sim);
    sim->options.lock_1000 = sim_chance(sim, 500) ? 50 + (unsigned)sim_draw(sim, 250) : 0;
    sim->options.auth_1000 = sim_chance(sim, 300) ? 150 + (unsigned)sim_draw(sim, 350) : 0;
    sim->options.token_ttl_ms = sim_chance(sim, 700) ? 500 + sim_draw(sim, 5000) : 300000;
    sim->damage_name = sim->damage_record = BUF_INIT(BUF_UNLIMITED);
    sim->refused = xalloc(100000);
    sim->written = xalloc(100000);
    world_run(sim);
    if (trace)
        printf("seed %" PRIu64 ": %u members, %u calls, %u answered, %u unknown, %u crashes, "
               "%u elections, %u snapshots, %u changes, %u promoted, %zu entries, %" PRIu64 " ms\n",
               seed, sim->options.members, sim->started, sim->answered, sim->unknown, sim->crashes,
               sim->elections, sim->snapshots_sent, sim->changes, sim->promoted,
               sim->committed_count, sim->now_ms);
    hash = sim->trace;
    buf_free(&sim->damage_name);
    buf_free(&sim->damage_record);
    free(sim->refused);
    free(sim->written);
    free(sim->watchers);
    free(sim);
    return hash;
}

static void run(const struct arguments *arguments, uint64_t seed, unsigned members, uint64_t *all)
{
    uint64_t hash = run_seed(seed, members, arguments->trace);

    if (arguments->twice && run_seed(seed, members, false) != hash) {
        fprintf(stderr, "the same seed gave another trace\n");
        fail_seed();
    }
    *all = (*all ^ hash) * 0x100000001b3U;
    seeds_done++;
}

static int run_file(const struct arguments *arguments, uint64_t *all)
{
    FILE *file = fopen(arguments->file, "r");
    char line[256];

    if (file == NULL) {
        perror(arguments->file);
        return 2;
    }
    while (fgets(line, sizeof(line), file) != NULL)
        if (line[0] >= '0' && line[0] <= '9') {
            char *end;
            uint64_t seed = strtoull(line, &end, 10);

            run(arguments, seed, (unsigned)strtoul(end, NULL, 10), all);
        }
    (void)fclose(file);
    return 0;
}

static bool read_argument(const char *text, struct arguments *arguments)
{
    if (strncmp(text, "--seed=", 7) == 0)
        arguments->seed = strtoull(text + 7, NULL, 10);
    else if (strncmp(text, "--runs=", 7) == 0)
        arguments->runs = strtoull(text + 7, NULL, 10);
    else if (strncmp(text, "--plant=", 8) == 0)
        arguments->plant = (unsigned)strtoul(text + 8, NULL, 10);
    else if (strncmp(text, "--members=", 10) == 0)
        arguments->members = (unsigned)strtoul(text + 10, NULL, 10);
    else if (strncmp(text, "--file=", 7) == 0)
        arguments->file = text + 7;
    else if (strcmp(text, "--plants") == 0)
        arguments->plants = true;
    else if (strcmp(text, "--twice") == 0)
        arguments->twice = true;
    else if (strcmp(text, "--trace") == 0)
        arguments->trace = true;
    else
        return false;
    return arguments->plant < PLANT_COUNT && arguments->members <= 7;
}

static int run_all(const struct arguments *arguments)
{
    uint64_t all = 0xcbf29ce484222325U;
    int rc = 0;

    current_plant = arguments->plant;
#ifdef SIM_PLANTS
    planted = (enum plant)arguments->plant;
#endif
    if (arguments->file != NULL)
        rc = run_file(arguments, &all);
    for (uint64_t i = 0; arguments->file == NULL && i < arguments->runs; i++)
        run(arguments, arguments->seed + i, arguments->members, &all);
    if (current_plant != PLANT_NONE) {
        printf("plant %u (%s): NOT FOUND in %" PRIu64 " seeds\n", current_plant,
               plant_words[current_plant], seeds_done);
        return 1;
    }
    printf("sim: %" PRIu64 " seeds without a violation, trace %016" PRIx64 "\n", seeds_done, all);
    return rc;
}

/* A process each: what finds a bug ends it. */
static int run_plants(struct arguments *arguments)
{
    int found = 0, status;

    for (arguments->plant = 1; arguments->plant < PLANT_COUNT; arguments->plant++) {
        pid_t child = fork();

        if (child == 0)
            _exit(run_all(arguments));
        if (child < 0 || waitpid(child, &status, 0) != child) {
            perror("sim");
            return 2;
        }
        found += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    printf("sim: %d of %d planted bugs found\n", found, PLANT_COUNT - 1);
    return found == PLANT_COUNT - 1 ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.seed = 1, .runs = 1};

    for (int i = 1; i < argc; i++)
        if (!read_argument(argv[i], &arguments)) {
            fprintf(stderr, "sim: %s is unknown or out of range\n", argv[i]);
            return 2;
        }
    log_output(NULL, 0);
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)signal(SIGABRT, on_abort);
#ifndef __SANITIZE_ADDRESS__ /* which says more about it */
    (void)signal(SIGSEGV, on_abort);
#endif
    return arguments.plants ? run_plants(&arguments) : run_all(&arguments);
}
