/* One correlation, the sum behind every pass of convolution and deconvolution, group by group:
 * y[i][r][q][o] = bias[o] + sum_{u,v,c} x[i][r sh + u dh + top][q sw + v dw + left][c] w[u][v][c][o]
 * Rows of x outside the picture are left out; columns outside must be zeros that can be read. */
typedef struct {
    int64_t n, height, width, oh, ow; /* samples; rows and columns of x and of y */
    int64_t kh, kw, cin, cout, group; /* taps; channels of one group */
    int64_t sh, sw, dh, dw, top, left;
    const float *x;
    int64_t xi, xh, xw; /* steps from sample to sample, row to row, pixel to pixel */
    const float *w;
    double *dw_sum;     /* the gradient of w, laid out alike */
    int64_t wh, ww, wc; /* steps from tap to tap and from channel to channel */
    const float *bias;  /* or none */
    float *y;
    int64_t yi, yh, yw;
} correlation;

typedef struct { int64_t first, last; } range;

/* The k in [0, count) for which start + k * step lies in [0, size). */
AI range inside(int64_t start, int64_t step, int64_t count, int64_t size) {
    const int64_t last = start < size ? BREW_MIN(count, (size - 1 - start) / step + 1) : 0;
    const int64_t first = start < 0 ? (step - 1 - start) / step : 0;
    return (range){BREW_MIN(first, last), last};
}

/* Whether what a kernel row sees of a pixel's surroundings is one piece of memory. */
AI int joined(const correlation *c) {
    return c->group == 1 && c->dw == 1 && c->xw == c->cin && c->ww == c->cin * c->wc;
}

/* Working memory of one thread, which the next call reuses; none where there is no more to be had. */
static float *work_of(int64_t count) {
    static _Thread_local float *work;
    static _Thread_local int64_t size;
    if (count > size) {
        free(work);
        work = aligned_alloc(64, ((size_t)(count + VL) * sizeof(float) + 63) / 64 * 64);
        size = work ? count : 0;
    }
    return work;
}
