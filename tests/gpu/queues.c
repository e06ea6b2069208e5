/* queues.c - the cuda device's queues: copies come back as they were sent, however many are under way; a buffer that
 * the card cannot hold is an error that says what was asked for and what is free, and nothing else suffers.
 *
 * Exit status 1: not so; 77: no GPU here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aira/ext/queue.h"
#include "core/plugin/registry.h"

enum { WORDS = 50000, ROUNDS = 200 };

static int failures;

static void expect(int good, const char *what) {
    if (good) return;
    failures++;
    printf("FAILED %s\n", what);
}

static uint32_t word(int round, int k) { return (uint32_t)(round * 2654435761u + (uint32_t)k * 40503u); }

/* More bytes than a stage holds, one after another into the same buffer, each downloaded before the next is sent. */
static void copies(const aira_device *table, const aira_device_queue *queue, void *self) {
    static uint32_t sent[WORDS], back[ROUNDS][WORDS];
    void *buffer = NULL;
    expect(table->buffer_create(self, sizeof sent, &buffer) == AIRA_OK, "a buffer");
    for (int r = 0; r < ROUNDS; r++) {
        for (int k = 0; k < WORDS; k++) sent[k] = word(r, k);
        expect(queue->upload(self, buffer, 0, sent, sizeof sent) == AIRA_OK, "upload");
        memset(sent, 0, sizeof sent); /* the bytes were taken */
        expect(queue->download(self, buffer, 0, back[r], sizeof sent) == AIRA_OK, "download");
    }
    expect(queue->finish(self) == AIRA_OK, "finish");
    int wrong = 0;
    for (int r = 0; r < ROUNDS; r++)
        for (int k = 0; k < WORDS; k++) wrong += back[r][k] != word(r, k);
    expect(!wrong, "what comes back is what was sent");
    table->buffer_destroy(self, buffer);
}

static void too_much(const aira_device *table, const aira_host *host, void *self) {
    void *buffer = NULL;
    expect(table->buffer_create(self, 1ull << 46, &buffer) == AIRA_E_MEMORY, "64 TiB are too much");
    const char *why = aira__host_last_failure(host);
    printf("%s\n", why);
    expect(!buffer && strstr(why, "70368744177664 bytes") && strstr(why, "are free"), "the sentence says how much");
}

int main(void) {
    char folder[1024];
    aira_error error = {0};
    aira__registry *registry = NULL;
    aira__instance *device = NULL;
    snprintf(folder, sizeof folder, "%s/lib/aira/plugins", getenv("AIRA_BUILD_DIR"));
    const char *paths[] = {folder};
    aira__registry_options options = {.paths = paths, .n_paths = 1};
    json_t *keys = json_pack("{s:s}", "use", "cuda");
    if (aira__registry_create(&options, &registry, &error) != AIRA_OK) return 1;
    if (aira__instance_create_json(registry, "device", keys, &device, &error) != AIRA_OK) {
        printf("skipped: %s\n", error.text);
        json_decref(keys);
        aira__registry_destroy(registry);
        return 77;
    }
    const aira_device *table = device->plugin->table;
    const aira_device_queue *queue = aira__instance_extension(device, AIRA_EXT_DEVICE_QUEUE);
    void *beside = NULL;
    expect(queue->open(device->self, &beside) == AIRA_OK, "another queue");
    too_much(table, aira__registry_host(registry), device->self);
    copies(table, queue, device->self);
    copies(table, queue, beside);
    queue->close(beside);
    json_decref(keys);
    aira__instance_destroy(device);
    aira__registry_destroy(registry);
    if (!failures) printf("queues work\n");
    return failures ? 1 : 0;
}
