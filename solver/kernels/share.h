/* What lanes run of a program: operations in order, waiting for each other where it says so. */
#ifndef SHARE_H
#define SHARE_H
#include "brew.h"
#include "lanes.h"

typedef struct {
    const brew_op *ops; /* of each lane, one lane behind the other; those it has no part in have no kernel */
    const char *wait;   /* before which operations lanes wait for each other */
    int64_t count;      /* operations of a lane */
    int64_t start, stop;
    int lanes;
} brew_share;

static void brew_run_part(const brew_share *share, int lane, int64_t start, int64_t stop) {
    const brew_op *ops = share->ops + lane * share->count;
    for (int64_t n = start; n < stop; n++)
        if (ops[n].run) ops[n].run(&ops[n]);
}

/* The operations from `start` on before the next one that lanes wait for. */
static int64_t brew_piece(const brew_share *share, int64_t start) {
    int64_t n = start + 1;
    while (n < share->stop && !share->wait[n]) n++;
    return n;
}

static void brew_run_lane(void *what, int lane) {
    const brew_share *share = what;
    for (int64_t n = share->start; n < share->stop;) {
        const int64_t stop = brew_piece(share, n);
        brew_run_part(share, lane, n, stop);
        n = stop;
        if (n < share->stop) lanes_barrier();
    }
}

/* Without threads one lane after the other does its part of each piece. */
static void brew_run(brew_share *share) {
    if (share->lanes == 1) brew_run_part(share, 0, share->start, share->stop);
    else if (!lanes_run(share->lanes, brew_run_lane, share))
        for (int64_t n = share->start, stop; n < share->stop; n = stop) {
            stop = brew_piece(share, n);
            for (int lane = 0; lane < share->lanes; lane++) brew_run_part(share, lane, n, stop);
        }
}
#endif
