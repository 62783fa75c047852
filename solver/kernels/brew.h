/* What one operation of a compiled program is: a kernel, up to 8 strided float32/int32 arrays, integers and numbers.
 * Gradients of parameters are sums in doubles; everything else is float32, int32 or uint64.
 * Arrays arrive as NumPy views: 4-D ones are indexed (n, c, h, w) but lie in memory as n, h, w, c, possibly with a
 * zero border around the picture; all others lie in C order. Strides count elements. */
#ifndef BREW_H
#define BREW_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BREW_DIMS 6
#define BREW_ARRAYS 8
#define BREW_INTS 16
#define BREW_FLOATS 8

typedef struct {
    void *data; /* NULL where the caller passed None */
    int64_t nd;
    int64_t size[BREW_DIMS];
    int64_t stride[BREW_DIMS];
} brew_array;

typedef struct brew_op {
    void (*run)(const struct brew_op *);
    brew_array a[BREW_ARRAYS];
    int64_t i[BREW_INTS];
    double f[BREW_FLOATS];
} brew_op;

/* roles: how the lanes (threads) of a program share the work of a kernel, one letter for each array argument:
 *   n  cut along axis 0, the samples: each lane gets its own (a stride of 0 there: read by all)
 *   w  read only, by all lanes
 *   s  sums in doubles: each lane adds to a copy of its own, merged later
 *   k  sums in doubles, cut along axis 1: nobody needs a copy
 *   r  read only, cut along axis 1
 *   l  working memory with one row a lane: axis 0 has as many rows as there are lanes, and each gets [lane : lane + 1]
 * Roles behind a bar are a second way, taken where the sums are larger than a core's cache.
 * A kernel may be cut if what it computes for a sample depends on nothing but that sample. NULL, or arrays that do not
 * fit (`l` with another number of rows, samples that do not lie behind each other): one lane runs it alone. */
typedef struct {
    const char *name; /* NULL ends a table */
    void (*run)(const brew_op *);
    const char *roles;
} brew_entry;

extern const brew_entry brew_table_avx512[];
extern const brew_entry brew_table_avx2[];
extern const brew_entry brew_table_baseline[];

#define F(k) ((float *)op->a[k].data)
#define F64(k) ((double *)op->a[k].data)
#define I32(k) ((int32_t *)op->a[k].data)
#define U64(k) ((uint64_t *)op->a[k].data)
#define SIZE(k, d) (op->a[k].size[d])
#define STRIDE(k, d) (op->a[k].stride[d])
#define AI static inline __attribute__((always_inline))
#define BREW_MAX(x, y) ((x) > (y) ? (x) : (y))
#define BREW_MIN(x, y) ((x) < (y) ? (x) : (y))

static inline int64_t brew_count(const brew_array *a) {
    int64_t n = 1;
    for (int64_t d = 0; d < a->nd; d++) n *= a->size[d];
    return n;
}
#endif
