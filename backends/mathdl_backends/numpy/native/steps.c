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

enum { PRODUCT, SUM_ROWS, TAKE_ROWS, ADD, SUBTRACT, MULTIPLY, DIVIDE, SQRT, RELU, RELU_BACKWARD };
enum { ROW_MAJOR = 101, PLAIN = 111, TRANSPOSED = 112 };

typedef struct {
    int64_t kind, is_double;
    char *a, *b, *c;              /* operands and result */
    int64_t a_down, b_down, c_down;   /* elements from one row to the next: 0 for a row that all share */
    int64_t a_right, b_right;     /* 1, or 0 for a number that a row shares; of a product: 1 if it lies transposed */
    int64_t inner;                /* of PRODUCT and SUM_ROWS: the contraction; of TAKE_ROWS: the rows of a */
} Op;

typedef struct { int64_t first_op, ops, row, row_end, column, column_end; } Piece;
typedef struct { int64_t first_piece, pieces; } Stage;

typedef struct {
    void (*sgemm)(int, int, int, int64_t, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t, float, float *, int64_t);
    void (*dgemm)(int, int, int, int64_t, int64_t, int64_t, double, const double *, int64_t, const double *, int64_t, double, double *, int64_t);
    void (*sgemv)(int, int, int64_t, int64_t, float, const float *, int64_t, const float *, int64_t, float, float *, int64_t);
    void (*dgemv)(int, int, int64_t, int64_t, double, const double *, int64_t, const double *, int64_t, double, double *, int64_t);
} Blas;

/* ---- the ops, for float and for double: the same roundings as NumPy's, so no operation may be fused with another ---- */

/* As many copies of a function as there are kinds of processors worth one; the loader chooses. */
#if defined(__x86_64__) && defined(__GLIBC__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

#define ROWS(BODY) \
    for (int64_t i = 0; i < rows; i++, a += op->a_down, b += op->b_down, c += op->c_down) BODY
/* The three cases apart, so that each is a loop that vector instructions can run. */
#define BINARY(OPERATOR) \
    ROWS({ \
        if (op->a_right && op->b_right) for (int64_t j = 0; j < columns; j++) c[j] = a[j] OPERATOR b[j]; \
        else if (op->a_right) { const T y = *b; for (int64_t j = 0; j < columns; j++) c[j] = a[j] OPERATOR y; } \
        else { const T x = *a; for (int64_t j = 0; j < columns; j++) c[j] = x OPERATOR b[j]; } \
    }) \
    return

#define T float
#define NAME(f) s##f
#define SQUARE_ROOT sqrtf
#include "ops.h"
#undef T
#undef NAME
#undef SQUARE_ROOT
#define T double
#define NAME(f) d##f
#define SQUARE_ROOT sqrt
#include "ops.h"

/* ---- the threads ---- */

typedef struct {
    const Op *ops;
    const Piece *pieces;
    const Stage *stages;
    int64_t count;
    atomic_llong *taken, *done;  /* pieces of each stage */
} Program;

typedef struct {
    Blas blas;
    int workers;
    pthread_t *threads;
    Program program;
    atomic_llong round;     /* odd while a program may be entered */
    atomic_int inside, asleep, closing;
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

static void work(const Program *program, const Blas *blas) {
    for (int64_t s = 0; s < program->count; s++) {
        const Stage *stage = &program->stages[s];
        long long k;
        while ((k = atomic_fetch_add(&program->taken[s], 1)) < stage->pieces) {
            const Piece *piece = &program->pieces[stage->first_piece + k];
            for (int64_t j = 0; j < piece->ops; j++) {
                const Op *op = &program->ops[piece->first_op + j];
                if (op->is_double) dop(op, piece, blas); else sop(op, piece, blas);
            }
            atomic_fetch_add(&program->done[s], 1);
        }
        for (int64_t waited = 0; atomic_load(&program->done[s]) < stage->pieces; waited++) {
            pause_briefly();
            if (waited > 2000) sched_yield(); /* the machine is busy: whoever holds the last piece may need this core */
        }
    }
}

static void *serve(void *argument) {
    Pool *pool = argument;
    long long seen = 0;
    int64_t since = now_ns();
    for (uint64_t turn = 1;; turn++) {
        long long round = atomic_load(&pool->round);
        if (round != seen && round % 2 == 1) {
            atomic_fetch_add(&pool->inside, 1);
            if (atomic_load(&pool->round) == round) {
                Program program = pool->program;
                work(&program, &pool->blas);
            }
            atomic_fetch_sub(&pool->inside, 1);
            seen = round;
            since = now_ns();
            continue;
        }
        if (atomic_load(&pool->closing)) return NULL;
        pause_briefly();
        if (turn % 256 == 0 && now_ns() - since > AWAKE_NS) {
            pthread_mutex_lock(&pool->lock);
            atomic_fetch_add(&pool->asleep, 1);
            while (!atomic_load(&pool->closing)) {
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

/* A pool of `threads` threads, the caller being one of them. NULL where the system has no more. */
Pool *pool_new(int threads, const Blas *blas) {
    Pool *pool = calloc(1, sizeof(Pool));
    if (!pool) return NULL;
    pool->blas = *blas;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = calloc(threads > 1 ? (size_t)(threads - 1) : 1, sizeof(pthread_t));
    for (int k = 0; pool->threads && k < threads - 1; k++) {
        if (pthread_create(&pool->threads[k], NULL, serve, pool) != 0) break; /* fewer threads give the same bits */
        pool->workers++;
    }
    return pool;
}

void pool_free(Pool *pool) {
    atomic_store(&pool->closing, 1);
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int k = 0; k < pool->workers; k++) pthread_join(pool->threads[k], NULL);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wake);
    free(pool->threads);
    free(pool);
}

/* `counters` holds 2 · count numbers. With `alone` the calling thread does all of it. */
void pool_run(Pool *pool, const Op *ops, const Piece *pieces, const Stage *stages, int64_t count, atomic_llong *counters, int alone) {
    for (int64_t s = 0; s < 2 * count; s++) atomic_store_explicit(&counters[s], 0, memory_order_relaxed);
    Program program = {ops, pieces, stages, count, counters, counters + count};
    if (alone || pool->workers == 0) {
        work(&program, &pool->blas);
        return;
    }
    pool->program = program;
    atomic_fetch_add(&pool->round, 1);
    wake_sleepers(pool);
    work(&program, &pool->blas);
    atomic_fetch_add(&pool->round, 1);
    for (int64_t waited = 0; atomic_load(&pool->inside) > 0; waited++) { /* who comes late finds the round over */
        pause_briefly();
        if (waited > 2000) sched_yield();
    }
}
