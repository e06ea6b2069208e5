/* A shared library that has nothing to do with plugins. */
int twice(int x);
int twice(int x) { return 2 * x; }
