/* Transposing matrices. */
typedef float v4 __attribute__((vector_size(16), aligned(4), may_alias));

/* b[c][r] = a[r][c] for 4 rows and 4 columns. */
AI void transpose4(const float *a, int64_t lda, float *b, int64_t ldb) {
    const v4 r0 = *(const v4 *)a, r1 = *(const v4 *)(a + lda), r2 = *(const v4 *)(a + 2 * lda),
             r3 = *(const v4 *)(a + 3 * lda);
    const v4 low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5),
             high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7), high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    *(v4 *)b = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
    *(v4 *)(b + ldb) = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
    *(v4 *)(b + 2 * ldb) = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
    *(v4 *)(b + 3 * ldb) = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

/* b[c][r] = a[r][c]; blocks of it are small enough that both sides stay in the first cache. */
static void transpose(int64_t rows, int64_t cols, const float *a, int64_t lda, float *b, int64_t ldb) {
    enum { BLOCK = 64 };
    for (int64_t r0 = 0; r0 < rows; r0 += BLOCK)
        for (int64_t c0 = 0; c0 < cols; c0 += BLOCK) {
            const int64_t r1 = BREW_MIN(r0 + BLOCK, rows), c1 = BREW_MIN(c0 + BLOCK, cols);
            const int64_t r4 = r0 + (r1 - r0) / 4 * 4, c4 = c0 + (c1 - c0) / 4 * 4;
            for (int64_t c = c0; c < c4; c += 4)
                for (int64_t r = r0; r < r4; r += 4) transpose4(a + r * lda + c, lda, b + c * ldb + r, ldb);
            for (int64_t c = c0; c < c1; c++)
                for (int64_t r = c < c4 ? r4 : r0; r < r1; r++) b[c * ldb + r] = a[r * lda + c];
        }
}
