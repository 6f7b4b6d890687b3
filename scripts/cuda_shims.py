"""Writes libraries that stand in for CUDA's at link time and find the real ones at run time.

    python3 cuda_shims.py SRC OUT

SRC is the `src` folder of the crate cudarc, which declares each function that can be called; OUT gets a static library
for each of CUDA's: `libcuda.a`, `libcublas.a` and so on. Each function of theirs jumps through a slot. The first call
asks `dlopen` and `dlsym` for the real function and puts it there; where there is none, the call answers with the
library's own error, which the caller reports. A program linked so needs no file of CUDA to start.

x86-64 Linux with glibc 2.34 or newer, where `dlopen` is in libc itself.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

# Module of cudarc, name for the linker, what is answered without the library, files that are tried in turn.
# The answers: CUDA_ERROR_NO_DEVICE, CUBLAS_STATUS_NOT_INITIALIZED, CURAND_STATUS_INITIALIZATION_FAILED,
# NVRTC_ERROR_INTERNAL_ERROR, ncclInternalError, CUDNN_STATUS_NOT_INITIALIZED.
LIBRARIES = [
    ("driver", "cuda", 100, ["libcuda.so.1", "libcuda.so"]),
    ("cublas", "cublas", 1, ["libcublas.so.13", "libcublas.so.12", "libcublas.so"]),
    ("cublaslt", "cublasLt", 1, ["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"]),
    ("curand", "curand", 203, ["libcurand.so.10", "libcurand.so"]),
    ("nvrtc", "nvrtc", 11, ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]),
    ("nccl", "nccl", 3, ["libnccl.so.2", "libnccl.so"]),
    ("cudnn", "cudnn", 1, ["libcudnn.so.9", "libcudnn.so.8", "libcudnn.so"]),
]

DECLARED = re.compile(r"pub (?:unsafe )?fn (\w+)\s*\([^()]*(?:\([^()]*\)[^()]*)*\)\s*(?:->\s*([^;{]+?))?\s*[;{]")

# Functions run on any thread: the library is opened once, and a slot that two threads fill gets the same value twice.
RESOLVE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
static const char *const files[] = {%(files)s};
static void *handle;
static void open_library(void) {
  for (unsigned at = 0; at < sizeof files / sizeof *files && !handle; at++)
    handle = dlopen(files[at], RTLD_NOW | RTLD_LOCAL);
}
static long no_status(void) { return %(status)d; }
static long no_value(void) { return 0; }
static const char *no_text(void) { return "%(file)s was not found"; }
static void *const absent[] = {(void *)no_status, (void *)no_value, (void *)no_text};
__attribute__((visibility("hidden"))) void *%(name)s_shim_resolve(void **slot, const char *function, long kind) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, open_library);
  void *found = handle ? dlsym(handle, function) : 0;
  if (!found) found = absent[kind];
  __atomic_store_n(slot, found, __ATOMIC_RELEASE);
  return found;
}
"""

# Keeps what a caller may have passed in registers (six whole numbers, eight floats, their count) around the search.
SLOW = """
    .text
{name}_shim_slow:
    push %rbp
    mov %rsp, %rbp
    and $-16, %rsp
    sub $192, %rsp
{kept}
    mov %r11, %rdi
    mov %r10, %rsi
    mov %rax, %rdx
    call {name}_shim_resolve
    mov %rax, %r11
{back}
    leave
    jmp *%r11
"""

FUNCTION = """
    .data
    .p2align 3
slot_{function}: .quad first_{function}
    .section .rodata
name_{function}: .asciz "{function}"
    .text
    .globl {function}
    .type {function}, @function
{function}: jmp *slot_{function}(%rip)
    .size {function}, . - {function}
first_{function}:
    lea slot_{function}(%rip), %r11
    lea name_{function}(%rip), %r10
    mov ${kind}, %eax
    jmp {name}_shim_slow
"""


def functions(text):
    """Each function by name, with the kind of its answer: 0 a status, 1 a size or nothing, 2 a text."""
    found = {}
    for name, answer in DECLARED.findall(text):
        # cudarc's own, which open libraries in another way of building it.
        if answer == "bool" or answer.startswith("&"):
            continue
        found[name] = 2 if "c_char" in answer else 1 if answer in ("", "usize") else 0
    return sorted(found.items())


def assembly(name, found):
    """The functions of one library."""
    whole = [(register, 8 * at) for at, register in enumerate(["rdi", "rsi", "rdx", "rcx", "r8", "r9"])]
    floats = [(f"xmm{at}", 48 + 16 * at) for at in range(8)]
    moves = [("mov", *pair) for pair in whole] + [("movups", *pair) for pair in floats]
    kept = "\n".join(f"    {move} %{register}, {at}(%rsp)" for move, register, at in moves)
    back = "\n".join(f"    {move} {at}(%rsp), %{register}" for move, register, at in moves)
    parts = [FUNCTION.format(name=name, function=function, kind=kind) for function, kind in found]
    parts.append(SLOW.format(name=name, kept=kept, back=back))
    parts.append('    .section .note.GNU-stack, "", @progbits\n')
    return "".join(parts)


def main():
    source, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    for module, name, status, files in LIBRARIES:
        found = functions((source / module / "sys" / "mod.rs").read_text())
        if not found:
            sys.exit(f"error: {source / module} declares no functions")
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            quoted = ", ".join(f'"{file}"' for file in files)
            resolve = RESOLVE % {"name": name, "files": quoted, "file": files[0], "status": status}
            (folder / f"{name}_resolve.c").write_text(resolve)
            (folder / f"{name}_jump.s").write_text(assembly(name, found))
            inputs = [folder / f"{name}_resolve.c", folder / f"{name}_jump.s"]
            objects = [file.with_suffix(".o") for file in inputs]
            for input_file, object_file in zip(inputs, objects):
                subprocess.run(["gcc", "-O2", "-fPIC", "-c", input_file, "-o", object_file], check=True)
            library = out / f"lib{name}.a"
            library.unlink(missing_ok=True)
            subprocess.run(["ar", "rcs", library, *objects], check=True)
        print(f"{library.name}: {len(found)} functions")


main()
