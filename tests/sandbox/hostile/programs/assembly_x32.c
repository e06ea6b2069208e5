// expect: refused
// tries: uses the numbers of the x32 calls
// on: x86_64

int main(void) {
    long result = 0x40000000 + 39;
    __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
    return result > 0 ? 42 : 1;
}
