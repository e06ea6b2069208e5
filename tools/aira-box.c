/* tools/aira-box.c - runs one command where it can reach nothing; see core/sandbox/box.h.
 *
 * Started by the host only, with a socket as descriptor 3. The same program is the first one inside.
 */
#include <stdio.h>
#include <string.h>

#include "core/sandbox/box.h"

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "inside") == 0) return aira__box_inside(argc - 2, argv + 2);
    if (argc == 1) return aira__box_outside();
    fputs("usage: aira-box; started by aira to confine foreign code, with a socket as descriptor 3\n", stderr);
    return 2;
}
