/* core/plugin/manifest.c - see manifest.h.
 *
 * Order of the walk: ELF header -> program headers -> PT_NOTE segments -> notes -> the note of owner "AIRA". Section
 * headers are not used: they may be stripped, and the loader of the system does not look at them either.
 */
#include "core/plugin/manifest.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/plugin/kinds.h"

#if defined(__x86_64__)
#define THIS_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define THIS_MACHINE EM_AARCH64
#elif defined(__riscv)
#define THIS_MACHINE EM_RISCV
#elif defined(__powerpc64__)
#define THIS_MACHINE EM_PPC64
#else
#error "name this machine's ELF number here"
#endif

typedef struct view {
    const unsigned char *bytes;
    size_t size;
} view;

/* Copies n bytes at offset; false when they are not all inside. */
static bool take(view v, uint64_t offset, void *out, size_t n) {
    if (offset > v.size || n > v.size - offset) return false;
    memcpy(out, v.bytes + offset, n);
    return true;
}

/* Whether bytes holds a zero-terminated text of at least one printable ASCII character. */
static bool is_text(const char *bytes, size_t n) {
    size_t length = strnlen(bytes, n);
    if (length == 0 || length == n) return false;
    for (size_t i = 0; i < length; i++)
        if (bytes[i] <= ' ' || bytes[i] > '~') return false;
    return true;
}

static const char *machine_name(unsigned machine) {
    switch (machine) {
    case EM_386:
        return "an x86";
    case EM_X86_64:
        return "an x86-64";
    case EM_ARM:
        return "an arm";
    case EM_AARCH64:
        return "an aarch64";
    case EM_RISCV:
        return "a riscv";
    case EM_PPC64:
        return "a ppc64";
    default:
        return "another";
    }
}

static aira_status check_header(const Elf64_Ehdr *e, size_t size, aira_error *error) {
    if (memcmp(e->e_ident, ELFMAG, SELFMAG) != 0)
        return aira__fail(error, AIRA_E_CORRUPT, "not a shared object: it does not begin with the ELF magic bytes");
    if (e->e_ident[EI_CLASS] != ELFCLASS64 || e->e_ident[EI_DATA] != ELFDATA2LSB)
        return aira__fail(error, AIRA_E_UNSUPPORTED, "not a 64-bit little-endian shared object");
    if (e->e_machine != THIS_MACHINE)
        return aira__fail(error, AIRA_E_UNSUPPORTED, "built for %s machine (ELF number %u), this one is %s",
                          machine_name(e->e_machine), e->e_machine, machine_name(THIS_MACHINE));
    if (e->e_type != ET_DYN)
        return aira__fail(error, AIRA_E_CORRUPT, "an ELF file of type %u, not a shared object: link it with -shared",
                          e->e_type);
    if (e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phnum == 0)
        return aira__fail(error, AIRA_E_CORRUPT, "its ELF header names no readable program headers");
    if (e->e_phoff > size || (uint64_t)e->e_phnum * sizeof(Elf64_Phdr) > size - e->e_phoff)
        return aira__fail(error, AIRA_E_CORRUPT, "its program headers lie outside the file: truncated or damaged");
    return AIRA_OK;
}

/* The segments that the system's loader acts on: in the file, in order, and inside what is mapped. A damaged RELRO or
   dynamic segment would otherwise make it protect or read memory that belongs to others in the process. */
static aira_status check_segments(view v, const Elf64_Ehdr *e, aira_error *error) {
    uint64_t mapped = 0; /* end of the last PT_LOAD, in addresses of the file */
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < e->e_phnum; i++) {
            Elf64_Phdr p;
            if (!take(v, e->e_phoff + (uint64_t)i * sizeof p, &p, sizeof p))
                return aira__fail(error, AIRA_E_CORRUPT, "its program headers lie outside the file");
            bool load = p.p_type == PT_LOAD, acted_on = load || p.p_type == PT_NOTE || p.p_type == PT_DYNAMIC ||
                                                        p.p_type == PT_TLS || p.p_type == PT_GNU_RELRO ||
                                                        p.p_type == PT_GNU_EH_FRAME;
            if (!acted_on || load != (pass == 0)) continue;
            uint64_t end = p.p_vaddr + (p.p_type == PT_TLS ? p.p_filesz : p.p_memsz); /* .tbss has no place */
            if (p.p_offset > v.size || p.p_filesz > v.size - p.p_offset)
                return aira__fail(error, AIRA_E_CORRUPT, "segment %u lies outside the file: truncated or damaged", i);
            if (p.p_filesz > p.p_memsz || end < p.p_vaddr || end > (uint64_t)1 << 40 ||
                (p.p_align & (p.p_align - 1)) != 0 || (load && p.p_vaddr < mapped) || (!load && end > mapped))
                return aira__fail(error, AIRA_E_CORRUPT, "segment %u has an impossible place in memory: damaged", i);
            if (load) mapped = end;
        }
    }
    return AIRA_OK;
}

static aira_status check_manifest(const aira_manifest *m, aira_error *error) {
    if (m->abi_major != AIRA_ABI_MAJOR)
        return aira__fail(error, AIRA_E_UNSUPPORTED,
                          "built for plugin ABI %u.%u, this program speaks ABI %u: rebuild it with this SDK",
                          m->abi_major, m->abi_minor, AIRA_ABI_MAJOR);
    if (!is_text(m->kind, sizeof m->kind) || !is_text(m->id, sizeof m->id) || !is_text(m->version, sizeof m->version))
        return aira__fail(error, AIRA_E_CORRUPT, "its manifest is damaged: kind, id or version is no text");
    if (m->reserved != 0)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "its manifest has a non-zero reserved field that this program "
                          "does not know");
    if (!aira__plugin_id_valid(m->id))
        return aira__fail(error, AIRA_E_CORRUPT, "its id '%s' is not of the form [a-z][a-z0-9_]*", m->id);
    if (aira__kind_find(m->kind) == NULL)
        return aira__fail(error, AIRA_E_UNSUPPORTED, "its kind '%s' is unknown; this program knows %s", m->kind,
                          aira__kind_names());
    return AIRA_OK;
}

/* Looks through the notes of one segment; *found counts manifests. Damaged notes of others end the segment quietly:
   they are not ours to judge. */
static aira_status scan_notes(view v, uint64_t offset, uint64_t n, aira_manifest *out, int *found, aira_error *error) {
    uint64_t end = offset + n;
    while (end - offset >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        if (!take(v, offset, &note, sizeof note)) break;
        uint64_t name = offset + sizeof note;
        uint64_t desc = name + (((uint64_t)note.n_namesz + 3) & ~(uint64_t)3);
        uint64_t next = desc + (((uint64_t)note.n_descsz + 3) & ~(uint64_t)3);
        if (desc > end || note.n_descsz > end - desc) break;
        char owner[5];
        if (note.n_namesz == sizeof owner && note.n_type == AIRA_NOTE_TYPE && take(v, name, owner, sizeof owner) &&
            memcmp(owner, "AIRA", sizeof owner) == 0) {
            if (note.n_descsz != sizeof(aira_manifest))
                return aira__fail(error, AIRA_E_CORRUPT, "its manifest has %u bytes where %zu are expected",
                                  note.n_descsz, sizeof(aira_manifest));
            if (!take(v, desc, out, sizeof *out)) break;
            (*found)++;
        }
        if (next > end) break;
        offset = next;
    }
    return AIRA_OK;
}

aira_status aira__manifest_read(const void *bytes, size_t size, aira_manifest *out, aira_error *error) {
    view v = {bytes, size};
    Elf64_Ehdr header;
    if (size == 0) return aira__fail(error, AIRA_E_CORRUPT, "the file is empty");
    if (!take(v, 0, &header, sizeof header)) {
        if (size >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0)
            return aira__fail(error, AIRA_E_CORRUPT, "truncated: %zu bytes do not hold an ELF header", size);
        return aira__fail(error, AIRA_E_CORRUPT, "not a shared object: it does not begin with the ELF magic bytes");
    }
    aira_status status = check_header(&header, size, error);
    if (status == AIRA_OK) status = check_segments(v, &header, error);
    if (status != AIRA_OK) return status;

    int found = 0;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr p;
        if (!take(v, header.e_phoff + (uint64_t)i * sizeof p, &p, sizeof p))
            return aira__fail(error, AIRA_E_CORRUPT, "its program headers lie outside the file");
        if (p.p_type != PT_NOTE) continue;
        status = scan_notes(v, p.p_offset, p.p_filesz, out, &found, error);
        if (status != AIRA_OK) return status;
    }
    if (found == 0)
        return aira__fail(error, AIRA_E_CORRUPT,
                          "a shared object without an aira manifest: not a plugin, or AIRA_MANIFEST is missing");
    if (found > 1)
        return aira__fail(error, AIRA_E_CORRUPT, "it has %d manifests; a plugin file holds one plugin", found);
    return check_manifest(out, error);
}

aira_status aira__manifest_read_file(const char *path, aira_manifest *out, aira_error *error) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return aira__fail(error, AIRA_E_IO, "cannot be opened: %s", strerror(errno));
    struct stat info;
    aira_status status = AIRA_OK;
    void *bytes = MAP_FAILED;
    if (fstat(file, &info) != 0) {
        status = aira__fail(error, AIRA_E_IO, "cannot be examined: %s", strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        status = aira__fail(error, AIRA_E_IO, "not a regular file");
    } else if ((uint64_t)info.st_size > AIRA__PLUGIN_MAX_BYTES) {
        status = aira__fail(error, AIRA_E_IO, "larger than %zu MiB", AIRA__PLUGIN_MAX_BYTES >> 20);
    } else if (info.st_size > 0) {
        bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, file, 0);
        if (bytes == MAP_FAILED) status = aira__fail(error, AIRA_E_IO, "cannot be read: %s", strerror(errno));
    }
    close(file);
    if (status != AIRA_OK) return status;
    status = aira__manifest_read(bytes == MAP_FAILED ? NULL : bytes, (size_t)info.st_size, out, error);
    if (bytes != MAP_FAILED) munmap(bytes, (size_t)info.st_size);
    return status;
}
