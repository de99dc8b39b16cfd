/* One op on one rectangle of its result, for numbers of type T. Included by steps.c, once for float and once for double. */

FOR_EACH_PROCESSOR static void NAME(op)(const Op *op, const Piece *p, const Blas *blas) {
    const int64_t rows = p->row_end - p->row, columns = p->column_end - p->column;
    const T *a = (const T *)op->a, *b = (const T *)op->b;
    T *c = (T *)op->c + p->row * op->c_down + p->column;
    switch (op->kind) {
    case PRODUCT:
        a += op->a_right ? p->row : p->row * op->a_down;
        b += op->b_right ? p->column * op->b_down : p->column;
        blas->NAME(gemm)(ROW_MAJOR, op->a_right ? TRANSPOSED : PLAIN, op->b_right ? TRANSPOSED : PLAIN, rows, columns,
                         op->inner, 1, a, op->a_down, b, op->b_down, 0, c, op->c_down);
        return;
    case SUM_ROWS: /* a holds ones */
        blas->NAME(gemv)(ROW_MAJOR, TRANSPOSED, op->inner, columns, 1, b + p->column, op->b_down, a, 1, 0, c, 1);
        return;
    case TAKE_ROWS: { /* b holds the rows to take, as 64-bit integers */
        const int64_t *indices = (const int64_t *)op->b + p->row;
        for (int64_t i = 0; i < rows; i++, c += op->c_down) {
            const int64_t row = indices[i] < 0 ? indices[i] + op->inner : indices[i];
            if (row >= 0 && row < op->inner) memcpy(c, a + row * op->a_down + p->column, (size_t)columns * sizeof(T));
        }
        return;
    }
    }
    a += p->row * op->a_down + p->column * op->a_right;
    b += p->row * op->b_down + p->column * op->b_right;
    switch (op->kind) {
    case ADD: BINARY(+);
    case SUBTRACT: BINARY(-);
    case MULTIPLY: BINARY(*);
    case DIVIDE: BINARY(/);
    case SQRT: ROWS({ for (int64_t j = 0; j < columns; j++) c[j] = SQUARE_ROOT(a[j]); }) return;
    case RELU: /* NaN stays NaN */
        ROWS({ for (int64_t j = 0; j < columns; j++) c[j] = a[j] <= 0 ? 0 : a[j]; }) return;
    case RELU_BACKWARD:
        ROWS({ for (int64_t j = 0; j < columns; j++) c[j] = a[j] * (b[j] > 0 ? (T)1 : (T)0); }) return;
    }
}
