/* Runs the recorded calls of a step on threads that wait awake: products, and elementwise work on their results while
 * these are in the cache. recording.py makes the tables, compiled.py the calls; nothing here knows Python.
 *
 * A program is a list of stages, one after the other. A stage is a list of pieces, taken by whichever thread is free. A
 * piece is a list of ops on one rectangle of their results. The tables fix all cuts, so the bits do not depend on the
 * number of threads.
 */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What this was built from: tables of another layout would be misread. */
const char *built_from(void) { return BUILT_FROM; }

enum {
    PRODUCT, ROW_PRODUCT, TAKE_ROWS, CONVOLVE, CONVOLVE_DW, CONVOLVE_DA, MAX_LINE, MAX_LINE_BACKWARD, SUM_PIECES,
    COPY, ADD, SUBTRACT, MULTIPLY, DIVIDE, SQRT, RELU, RELU_BACKWARD,
    FROM_BOOL, ARGMAX, PUT_ROW, LOOP, REDUCE, COPY_AXES, RANDOM_WORDS
};
enum { LOCAL_A = 1, LOCAL_B = 2, LOCAL_C = 4 };
enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };

#define MIN(x, y) ((x) < (y) ? (x) : (y))
#define MAX(x, y) ((x) > (y) ? (x) : (y))

/* A window on images of p × q × k, its output of `rows` × `columns` places, and the blocks in which it is computed. */
typedef struct {
    int64_t p, q, k, rows, columns;
    int64_t f, g, s, t, top, left, d, e; /* kernel, stride, padding, dilation */
    int64_t few;                         /* whether the channels are few */
    int64_t places, block, parts;        /* of a kernel's gradient: all places, those of a block, partial sums */
} Window;

/* Windows along one axis of (outer, elements, n). */
typedef struct { int64_t outer, elements, places, taps, stride; } Line;

/* An inner loop of a NumPy ufunc, and what it is called on: for each of up to three args where it begins, and the bytes
 * from row to row and from column to column. */
typedef struct {
    void (*function)(char **, const intptr_t *, const intptr_t *, void *);
    void *data;
    int64_t args;
    char *base[3];
    int64_t down[3], right[3];
    int64_t terms, next, copies_first, size; /* of a reduction: terms, bytes to the next, bytes of a number */
} Loop;

/* Five axes: how many, and the bytes from one to the next where numbers are taken from, and put into; bytes of a number. */
typedef struct { int64_t count[5], from[5], into[5], from_size, into_size; } Axes;

typedef struct {
    int64_t kind, is_double;
    char *a, *b, *c;              /* operands and result; of what is local, the bytes from the beginning of the scratch */
    int64_t a_down, b_down, c_down;   /* elements from one row to the next: 0 for a row that all share */
    int64_t a_right, b_right;     /* 1, or 0 for a number that a row shares; of a product: 1 if it lies transposed */
    int64_t inner;                /* of products and ROW_PRODUCT: the contraction; of TAKE_ROWS: the rows of a; of CONVOLVE …: the
                                     output channels; of MAX_LINE …: the elements behind the axis; of SUM_PIECES: rows of a piece;
                                     of RANDOM_WORDS: the first instance */
    int64_t width;                /* columns of the result */
    int64_t locals;               /* which of a, b and c live in the scratch of a thread, and nowhere else */
    int64_t work;                 /* where in the scratch a convolution gathers */
    union {
        const Window *window;     /* of a convolution */
        const Line *line;         /* of MAX_LINE … */
        const Loop *loop;         /* of LOOP, REDUCE */
        const Axes *axes;         /* of COPY_AXES */
    };
} Op;

/* A rectangle of a result of `width` columns. */
typedef struct { int64_t first_op, ops, row, row_end, column, column_end, width; } Piece;
typedef struct { int64_t row, column, rows, columns; } Place;
typedef struct { int64_t first_piece, pieces; } Stage;

typedef struct {
    void (*sgemm)(int, int, int, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t, float, float *, int64_t);
    void (*dgemm)(int, int, int, int64_t, int64_t, int64_t, double, const double *, int64_t, const double *, int64_t, double, double *, int64_t);
    void (*sgemv)(int, int, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t, float, float *, int64_t);
    void (*dgemv)(int, int, int64_t, int64_t, double, const double *, int64_t, const double *, int64_t, double, double *, int64_t);
    int (*threads)(void);
    void (*set_threads)(int);
} Blas;

/* ---- the ops, for float and for double: the same roundings as NumPy's, so no operation may be fused with another ---- */

/* As many copies of a function as there are kinds of processors worth one; the loader chooses. */
#if defined(__x86_64__) && defined(__GLIBC__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

#define ROWS(BODY) \
    for (int64_t i = 0; i < rows; i++, a += a_down, b += b_down, c += c_down) BODY
/* The three cases apart, so that each is a loop that vector instructions can run. */
#define BINARY(OPERATOR) \
    ROWS({ \
        if (a_right && b_right) for (int64_t j = 0; j < columns; j++) c[j] = a[j] OPERATOR b[j]; \
        else if (a_right) { const T y = *b; for (int64_t j = 0; j < columns; j++) c[j] = a[j] OPERATOR y; } \
        else { const T x = *a; for (int64_t j = 0; j < columns; j++) c[j] = x OPERATOR b[j]; } \
    }) \
    return

/* Set where a row is asked for that is not there. */
static _Thread_local int outside;

#include "loops.h"
#include "words.h"

#define T float
#define NAME(f) s##f
#define SQUARE_ROOT sqrtf
#include "windows.h"
#include "ops.h"
#undef T
#undef NAME
#undef SQUARE_ROOT
#define T double
#define NAME(f) d##f
#define SQUARE_ROOT sqrt
#include "windows.h"
#include "ops.h"

/* ---- the threads ---- */

typedef struct {
    const Op *ops;
    const Piece *pieces;
    const Stage *stages;
    int64_t count;
    atomic_llong *taken, *done;  /* pieces of each stage */
    atomic_int *outside;         /* whether a row was asked for that is not there */
    int64_t scratch;             /* bytes that each thread needs */
} Program;

typedef struct { char *bytes; int64_t size; } Scratch;

/* What the threads of a pool do together, each with a scratch of its own. */
typedef void Job(void *argument, const Blas *blas, Scratch *scratch);

typedef struct {
    Blas blas;
    int wanted, workers;    /* threads beside the caller: how many there are to be, and are */
    pthread_t *threads;
    Scratch scratch;        /* of the calling thread */
    Job *job;
    void *argument;
    atomic_llong round;     /* odd while the job may be entered */
    atomic_int inside, asleep;
    pthread_mutex_t lock;
    pthread_cond_t wake;
} Pool;

static const int64_t AWAKE_NS = 200 * 1000; /* how long a thread waits awake: longer than the Python between programs */

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Memory of one thread, from piece to piece. */
static char *enough(Scratch *scratch, int64_t size) {
    if (scratch->size < size) {
        free(scratch->bytes);
        scratch->size = 0;
        if (posix_memalign((void **)&scratch->bytes, 64, (size_t)size) != 0) abort(); /* as the Linux kernel would, a little later */
        scratch->size = size;
    }
    return scratch->bytes;
}

static void run_piece(const Op *ops, const Piece *piece, const Blas *blas, char *bytes) {
    for (int64_t j = 0; j < piece->ops; j++) {
        const Op *op = &ops[piece->first_op + j];
        if (op->is_double) dop(op, piece, blas, bytes); else sop(op, piece, blas, bytes);
    }
}

/* A program, whose pieces the threads share out. */
static void work(void *argument, const Blas *blas, Scratch *scratch) {
    const Program *program = argument;
    char *bytes = enough(scratch, program->scratch);
    outside = 0;
    for (int64_t s = 0; s < program->count; s++) {
        const Stage *stage = &program->stages[s];
        long long k;
        while ((k = atomic_fetch_add(&program->taken[s], 1)) < stage->pieces) {
            run_piece(program->ops, &program->pieces[stage->first_piece + k], blas, bytes);
            atomic_fetch_add(&program->done[s], 1);
        }
        for (int64_t waited = 0; atomic_load(&program->done[s]) < stage->pieces; waited++) {
            pause_briefly();
            if (waited > 2000) sched_yield(); /* the machine is busy: whoever holds the last piece may need this core */
        }
    }
    if (outside) atomic_store(program->outside, 1);
}

static void *serve(void *argument) {
    Pool *pool = argument;
    Scratch scratch = {0};
    long long seen = 0;
    int64_t since = now_ns();
    for (uint64_t turn = 1;; turn++) {
        long long round = atomic_load(&pool->round);
        if (round != seen && round % 2 == 1) {
            atomic_fetch_add(&pool->inside, 1);
            if (atomic_load(&pool->round) == round) pool->job(pool->argument, &pool->blas, &scratch);
            atomic_fetch_sub(&pool->inside, 1);
            seen = round;
            since = now_ns();
            continue;
        }
        pause_briefly();
        if (turn % 256 == 0 && now_ns() - since > AWAKE_NS) {
            pthread_mutex_lock(&pool->lock);
            atomic_fetch_add(&pool->asleep, 1);
            for (;;) {
                round = atomic_load(&pool->round);
                if (round != seen && round % 2 == 1) break;
                pthread_cond_wait(&pool->wake, &pool->lock);
            }
            atomic_fetch_sub(&pool->asleep, 1);
            pthread_mutex_unlock(&pool->lock);
            since = now_ns();
        }
    }
}

static void wake_sleepers(Pool *pool) {
    if (atomic_load(&pool->asleep) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* A pool of `threads` threads, the caller being one of them; the others start with the first program that needs them, and
 * sleep when there is none. A pool is never freed, but used again. NULL where the system has no memory. */
Pool *pool_new(int threads, const Blas *blas) {
    Pool *pool = calloc(1, sizeof(Pool));
    if (!pool) return NULL;
    pool->blas = *blas;
    pool->wanted = threads - 1;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    return pool;
}

static void start_threads(Pool *pool) {
    pool->threads = calloc((size_t)pool->wanted, sizeof(pthread_t));
    for (; pool->threads && pool->workers < pool->wanted; pool->workers++)
        if (pthread_create(&pool->threads[pool->workers], NULL, serve, pool) != 0) break;
    pool->wanted = pool->workers; /* fewer threads give the same bits */
}

/* A program as Python hands it over. `counters` holds 2 · count numbers; with `alone` the calling thread does all of it. */
typedef struct {
    const Op *ops;
    const Piece *pieces;
    const Stage *stages;
    int64_t count;
    atomic_llong *counters;
    int64_t alone, scratch;
} Tables;

/* All threads, the calling one included, do the job. */
static void together(Pool *pool, Job *job, void *argument) {
    if (pool->workers < pool->wanted) start_threads(pool);
    pool->job = job;
    pool->argument = argument;
    atomic_fetch_add(&pool->round, 1);
    wake_sleepers(pool);
    job(argument, &pool->blas, &pool->scratch);
    atomic_fetch_add(&pool->round, 1);
    for (int64_t waited = 0; atomic_load(&pool->inside) > 0; waited++) { /* who comes late finds the round over */
        pause_briefly();
        if (waited > 2000) sched_yield();
    }
}

/* 0, or 1 if a row lies outside. */
static int run(Pool *pool, const Tables *t) {
    for (int64_t s = 0; s < 2 * t->count; s++) atomic_store_explicit(&t->counters[s], 0, memory_order_relaxed);
    atomic_int found = 0;
    Program program = {t->ops, t->pieces, t->stages, t->count, t->counters, t->counters + t->count, &found, t->scratch};
    if (t->alone) work(&program, &pool->blas, &pool->scratch);
    else together(pool, work, &program);
    return atomic_load(&found);
}

int pool_run(Pool *pool, const Tables *program) { return run(pool, program); }

/* The same of a program that needs no other thread, for whoever holds Python's lock and has set up nothing: with BLAS on
 * one thread, and then on as many as before. */
int pool_run_alone(Pool *pool, const Tables *program) {
    const int threads = pool->blas.threads();
    if (threads != 1) pool->blas.set_threads(1);
    const int outside = run(pool, program);
    if (threads != 1) pool->blas.set_threads(threads);
    return outside;
}

/* `gradient` and `update` in turn, `count` times, as long as J is finite after `gradient`. How many times; −1 less that
 * number if a row lies outside. */
int64_t pool_steps(Pool *pool, const Tables *gradient, const Tables *update, const void *J, int is_double, int64_t count) {
    for (int64_t done = 0; done < count; done++) {
        if (run(pool, gradient)) return -1 - done;
        if (!isfinite(is_double ? *(const double *)J : *(const float *)J)) return done;
        if (run(pool, update)) return -1 - done;
    }
    return count;
}

/* ---- chunks of rows, side by side ---- */

/* A place in a program where an address stands: that of the program's own buffer, and that of the first chunk, to which the
 * next ones follow at a distance of `step` bytes. */
typedef struct { char **place, *own, *first; int64_t step; } Move;

/* A program with buffers of its own, and what has it work on a chunk: in the hands of one thread. */
typedef struct { const Tables *program; const Move *moves; int64_t count; } Lane;

typedef struct {
    const Lane *lanes;
    int64_t count, chunks;
    atomic_llong lane, chunk; /* the next that is free */
    atomic_int outside;
} Chunks;

static void work_on_chunks(void *argument, const Blas *blas, Scratch *scratch) {
    Chunks *all = argument;
    const long long mine = atomic_fetch_add(&all->lane, 1);
    if (mine >= all->count) return;
    const Lane *lane = &all->lanes[mine];
    const Tables *t = lane->program;
    char *bytes = enough(scratch, t->scratch);
    outside = 0;
    for (long long k; (k = atomic_fetch_add(&all->chunk, 1)) < all->chunks;) {
        for (int64_t m = 0; m < lane->count; m++) *lane->moves[m].place = lane->moves[m].first + k * lane->moves[m].step;
        for (int64_t s = 0; s < t->count; s++)
            for (int64_t j = 0; j < t->stages[s].pieces; j++)
                run_piece(t->ops, &t->pieces[t->stages[s].first_piece + j], blas, bytes);
    }
    for (int64_t m = 0; m < lane->count; m++) *lane->moves[m].place = lane->moves[m].own;
    if (outside) atomic_store(&all->outside, 1);
}

/* Each chunk by one thread, and each thread with a lane of its own. 1 if a row lies outside. */
int pool_chunks(Pool *pool, const Lane *lanes, int64_t count, int64_t chunks) {
    Chunks all = {lanes, count, chunks, 0, 0, 0};
    together(pool, work_on_chunks, &all);
    return atomic_load(&all.outside);
}
