/* Random words: Philox4x32-10, as mathdl/random.py has it. Included by steps.c. */

enum { ROUNDS = 10, LANES = 16 };

/* Four words for each of some counters (place[j], instance[j], 0, 0): words[j], words[LANES + j] …  */
FOR_EACH_PROCESSOR static void philox(const uint32_t *place, const uint32_t *instance, uint32_t k0, uint32_t k1, uint32_t *words) {
    uint32_t *c0 = words, *c1 = words + LANES, *c2 = words + 2 * LANES, *c3 = words + 3 * LANES;
    for (int j = 0; j < LANES; j++) c0[j] = place[j], c1[j] = instance[j], c2[j] = c3[j] = 0;
    for (int r = 0; r < ROUNDS; r++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int j = 0; j < LANES; j++) {
            const uint64_t p0 = (uint64_t)c0[j] * 0xD2511F53u, p1 = (uint64_t)c2[j] * 0xCD9E8D57u;
            c0[j] = (uint32_t)(p1 >> 32) ^ c1[j] ^ k0;
            c1[j] = (uint32_t)p1;
            c2[j] = (uint32_t)(p0 >> 32) ^ c3[j] ^ k1;
            c3[j] = (uint32_t)p0;
        }
}

/* The words of a rectangle of (instances, elements), under a key: `out` holds its first, and `down` are in a row of all. */
static void words_of(const uint32_t *key, int64_t first, const Place *at, uint32_t *out, int64_t down) {
    uint32_t place[LANES] = {0}, instance[LANES] = {0}, words[4 * LANES];
    int64_t i = 0, block = at->column / 4;
    while (i < at->rows) {
        const int64_t row = i, start = block;
        int lanes = 0;
        for (; lanes < LANES && i < at->rows; lanes++) {
            place[lanes] = (uint32_t)block++;
            instance[lanes] = (uint32_t)(first + at->row + i);
            if (4 * block >= at->column + at->columns) i++, block = at->column / 4;
        }
        philox(place, instance, key[0], key[1], words);
        i = row, block = start;
        for (int j = 0; j < lanes; j++) {
            const int64_t before = 4 * block - at->column, left = at->columns - before;
            uint32_t *four = out + i * down + before;
            if (before >= 0 && left >= 4) for (int e = 0; e < 4; e++) four[e] = words[e * LANES + j];
            else for (int64_t e = MAX(-before, 0); e < MIN(left, 4); e++) four[e] = words[e * LANES + j];
            if (left > 4) block++; else i++, block = at->column / 4;
        }
    }
}

/* All words of (instances, elements), from instance (first) on. */
void random_words(const uint32_t *key, int64_t first, int64_t instances, int64_t elements, uint32_t *out) {
    const Place all = {0, 0, instances, elements};
    words_of(key, first, &all, out, elements);
}
