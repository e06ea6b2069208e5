/* tests/tools/hash_agent.c - an agent for `use: command` whose answer is a function of every byte of the question.
 *
 *   hash_agent MS
 *
 * It waits 0 to MS random milliseconds and answers by the SHA-256 of what it read: mostly an architecture, at times
 * prose alone, two blocks, an unknown token, or nothing and a failure. So two runs have the same tree only if they
 * asked the very same questions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/base/json.h"

static void wait_random(int most) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned mixed = (unsigned)now.tv_nsec * 2654435761u ^ (unsigned)getpid() * 40503u;
    if (most > 0) usleep((mixed >> 8) % ((unsigned)most * 1000u + 1u));
}

static void block(const json_t *state, const uint8_t *hash) {
    const json_t *tokens = json_object_get(state, "tokens");
    int64_t layers = aira__json_int(state, "layers", 0);
    printf("```yaml\nlayers: \"");
    for (int64_t i = 0; i < layers; i++)
        printf("%s%s", i ? " " : "", json_string_value(json_array_get(tokens, hash[i % 24] % json_array_size(tokens))));
    printf("\"\n```\n");
}

int main(int argc, char **argv) {
    size_t room = (size_t)1 << 24, n = 0, got;
    char *text = malloc(room);
    uint8_t hash[32];
    if (!text) return 1;
    while (n < room && (got = fread(text + n, 1, room - n, stdin)) > 0) n += got;
    aira__sha256(text, n, hash);
    wait_random(argc > 1 ? atoi(argv[1]) : 0);
    json_t *question = aira__json_parse(text, n, "question", NULL), *state = json_object_get(question, "state");
    if (!json_is_object(state)) return 1;
    int mood = hash[31] % 16;
    if (aira__json_int(state, "node", 0) % 11 == 5) mood = 1; /* a node that never gets a usable answer */
    printf("Idea %02x%02x.\n", hash[24], hash[25]);
    if (mood == 0) return 3;
    if (mood == 1)
        printf("I have none to give.\n");
    else if (mood == 2)
        printf("```yaml\nlayers: \"no such\"\n```\n");
    else
        block(state, hash);
    if (mood == 3) block(state, hash + 3);
    json_decref(question);
    free(text);
    return 0;
}
