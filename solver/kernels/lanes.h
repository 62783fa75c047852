/* Lanes: threads that run one job together, the caller being lane 0. The others are made when they are first needed and
 * kept. Who waits spins for a short time, as work comes every few microseconds while a net runs, and then sleeps. */
#ifndef LANES_H
#define LANES_H
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LANES_MOST 1024
#define LANES_SPIN 200e-6 /* seconds: longer than the interpreter takes from one program to the next */

typedef void (*lanes_job)(void *what, int lane);

typedef struct {
    _Alignas(64) unsigned start; /* grows by one when there is a job for this lane */
} lanes_flag;

static struct {
    pthread_mutex_t busy;   /* held by who runs a job */
    pthread_mutex_t lock;   /* for those who sleep */
    pthread_cond_t changed;
    lanes_flag flag[LANES_MOST];
    pthread_t thread[LANES_MOST];
    _Alignas(64) unsigned arrived; /* at the barrier */
    _Alignas(64) unsigned phase;   /* number of barriers passed */
    _Alignas(64) unsigned sleepers;
    int threads, lanes; /* there are, beside the caller; and in this job */
    int room, measured; /* cores to run on, and whether that is known: nobody spins where there are fewer than lanes */
    int pinned, cpu[LANES_MOST];
    int prepared;
    lanes_job job;
    void *what;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static inline void lanes_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static double lanes_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Return when the word is no longer `old`. */
static void lanes_wait(unsigned *word, unsigned old) {
    const double end = pool.lanes <= pool.room ? lanes_clock() + LANES_SPIN : 0;
    while (end) {
        for (int n = 0; n < 32; n++) {
            if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != old) return;
            lanes_pause();
        }
        if (lanes_clock() > end) break;
    }
    pthread_mutex_lock(&pool.lock);
    __atomic_add_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST); /* before it looks again: see lanes_wake */
    while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == old) pthread_cond_wait(&pool.changed, &pool.lock);
    __atomic_sub_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&pool.lock);
}

/* Wake sleepers, after a word has been changed: either they see it or they are seen here. */
static void lanes_wake(void) {
    if (!__atomic_load_n(&pool.sleepers, __ATOMIC_SEQ_CST)) return;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_broadcast(&pool.changed);
    pthread_mutex_unlock(&pool.lock);
}

/* Wait, within a job, for all its lanes. */
static void lanes_barrier(void) {
    const unsigned phase = __atomic_load_n(&pool.phase, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&pool.arrived, 1, __ATOMIC_ACQ_REL) < (unsigned)pool.lanes) {
        lanes_wait(&pool.phase, phase);
        return;
    }
    __atomic_store_n(&pool.arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&pool.phase, phase + 1, __ATOMIC_SEQ_CST);
    lanes_wake();
}

static void lanes_bind(pthread_t thread, int lane) {
#ifdef __linux__
    if (!pool.pinned) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(pool.cpu[lane % pool.pinned], &set);
    pthread_setaffinity_np(thread, sizeof(set), &set); /* a core that is gone leaves the thread where it is */
#else
    (void)thread, (void)lane;
#endif
}

static void *lanes_work(void *argument) {
    const int lane = (int)(intptr_t)argument;
    for (unsigned done = 0;; done++) {
        lanes_wait(&pool.flag[lane].start, done);
        pool.job(pool.what, lane);
        lanes_barrier();
    }
    return NULL;
}

/* In the child of a fork there are no other threads. */
static void lanes_forget(void) {
    pthread_mutex_init(&pool.busy, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.changed, NULL);
    pool.arrived = pool.sleepers = 0;
    pool.threads = 0;
}

static int lanes_cores(void) {
#ifdef __linux__
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof(set), &set)) return CPU_COUNT(&set);
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

/* Whether there are, or could be made, threads for so many lanes. They take no signals: those are the caller's. */
static int lanes_have(int lanes) {
    if (!pool.prepared) {
        pool.prepared = 1;
        pthread_atfork(NULL, NULL, lanes_forget);
    }
    if (!pool.measured) pool.room = lanes_cores();
    pool.measured = 1;
    sigset_t all, before;
    sigfillset(&all);
    while (pool.threads < lanes - 1) {
        const int lane = pool.threads + 1;
        pool.flag[lane].start = 0;
        pthread_sigmask(SIG_SETMASK, &all, &before);
        const int failed = pthread_create(&pool.thread[lane], NULL, lanes_work, (void *)(intptr_t)lane);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (failed) return 0;
        pthread_detach(pool.thread[lane]);
        lanes_bind(pool.thread[lane], lane);
        pool.threads++;
    }
    return 1;
}

/* Run job(what, lane) for all lanes at once, and return when all are done; 0 where there are no threads to be had. */
static int lanes_run(int lanes, lanes_job job, void *what) {
    pthread_mutex_lock(&pool.busy);
    const int able = lanes <= LANES_MOST && lanes_have(lanes);
    if (able) {
        pool.job = job, pool.what = what, pool.lanes = lanes;
        for (int lane = 1; lane < lanes; lane++) __atomic_add_fetch(&pool.flag[lane].start, 1, __ATOMIC_SEQ_CST);
        lanes_wake();
        job(what, 0);
        lanes_barrier();
    }
    pthread_mutex_unlock(&pool.busy);
    return able;
}

/* Pin lane n to cpus[n], lane 0 being whoever calls; no cpus: there are too few, so that nobody is to spin. */
static void lanes_pin(int count, const int *cpus) {
    pthread_mutex_lock(&pool.busy);
    pool.pinned = count;
    for (int n = 0; n < count; n++) pool.cpu[n] = cpus[n];
    pool.room = count;
    pool.measured = 1;
    lanes_bind(pthread_self(), 0);
    for (int lane = 1; lane <= pool.threads; lane++) lanes_bind(pool.thread[lane], lane);
    pthread_mutex_unlock(&pool.busy);
}
#endif
