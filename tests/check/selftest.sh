#!/bin/sh
# SPDX-License-Identifier: MIT
# Do the checks find anything? Plants one violation of each rule into a copy of the tree and expects the check to name it.
. "$(dirname "$0")/tap.sh"

copy=$WORK/tree
plant() { # CHECK FILE LINE: appended to a file of the copy, which is made when missing
    rm -rf "$copy"
    mkdir -p "$copy/tests"
    for dir in include $LIBRARY boot vmm; do [ -d "$dir" ] && cp -r "$dir" "$copy/"; done
    cp -r tests/check "$copy/tests/"
    mkdir -p "$copy/$(dirname "$2")"
    printf '%b\n' "$3" >>"$copy/$2"
    env -u BUILD sh "$copy/tests/check/$1.sh" >"$WORK/out" 2>&1
    grep -q "^#   $2:" "$WORK/out" || echo "$1.sh does not see in $2: $3" >>"$findings"
}

plant layers include/hv/plant.h '#include <stdio.h>'
plant layers include/hv/types.h '#include <arch/npt.h>'
plant layers base/log.c '#include <arch/npt.h>'
plant layers arch/x86_64/plant.c '#include "../../virt/walk.h"'
plant layers arch/x86_64/plant.c '#include <whp/WinHvPlatform.h>'
plant layers arch/x86_64/vmx/plant.c '#include "../svm/svm.h"'
plant layers arch/x86_64/svm/plant.c '#include "../vmx/vmx.h"'
plant layers arch/x86_64/svm/plant.asm '%include "vmx/vmx.inc"'
plant layers drivers/pci/plant.c '#include "../../arch/x86_64/vmx/vmx.h"'
plant layers drivers/pci/plant.c '#include <WinHvPlatform.h>'
plant layers virt/plant.c '#include "../arch/x86_64/vmx/vmx.h"'
plant layers virt/plant.c '  #  include <whp/WinHvTypes.h>'
plant layers virt/plant.c '#include <string.h>'
plant layers virt/whp/plant.c '#include <arch/npt.h>'
plant layers virt/whp/plant.c '#include "../walk.h"'
plant layers boot/plant.c '#include <arch/npt.h>'
plant layers vmm/plant.c '#include <hv/host.h>'
report "checks: layers.sh finds what is planted"

plant headers include/hv/plant.h 'struct a { hv_gpa_t gpa; };'
plant headers include/hv/plant.h 'struct once { int a; };'
plant headers include/whp/WinHvTypes.h 'typedef __unknown_t A;'
report "checks: headers.sh finds what is planted"

plant source virt/plant.c 'extern int x;'
plant source virt/plant.c '#ifdef CONFIG_INTEL'
plant source arch/x86_64/plant.h '#if defined(__linux__)'
plant source virt/plant.c 'p = malloc(1);'
plant source virt/plant.c 'double d;'
plant source virt/plant.c '/* x */ __asm__("nop");'
plant source virt/plant.c '#if 0'
plant source virt/plant.c '/* as in the VMCS */'
plant source virt/exit_msr.c 'static int on_amd;'
plant source virt/plant.h 'bool has_ept;'
plant source include/hv/plant.h '/* Intel only */'
plant source virt/plant.c '/* TO''DO */'
plant source virt/plant.c 'int no_licence;'
report "checks: source.sh finds what is planted"

# symbols.sh: an exact match, one symbol more, one less, a port function less
library() { # SOURCE...: makes a library of calls of all host functions, edited by sed
    clang -E -P -ffreestanding -Iinclude include/hv/host.h | grep -oE 'hv_host_[a-z0-9_]+ *\(' | tr -d ' (' | sort -u |
        awk '{ d = d "void " $1 "(void);\n"; c = c $1 "(); " } END { print d "void *memcpy(void *, const void *, unsigned long);\nvoid all(void);\nvoid all(void) { " c "memcpy(0, 0, 1); }" }' |
        sed "$1" >"$WORK/lib.c"
    clang -w --target=x86_64-unknown-none-elf -ffreestanding -c "$WORK/lib.c" -o "$WORK/lib.o"
    rm -f "$WORK/lib.a"
    llvm-ar rcs "$WORK/lib.a" "$WORK/lib.o"
    env -u BUILD sh tests/check/symbols.sh "$WORK/lib.a" >"$WORK/out"
}
library '' || sed 's/^/symbols.sh complains about nothing: /' "$WORK/out" >>"$findings"
library 's/all(void) {/& malloc();/' && echo "symbols.sh does not see malloc" >>"$findings"
library 's/all(void) {/& hv_host_nonsense();/' && echo "symbols.sh does not see a function that host.h lacks" >>"$findings"
library 's/hv_host_log(); //' && echo "symbols.sh does not see that hv_host_log is unused" >>"$findings"
report "checks: symbols.sh finds what is planted"

rm -rf "$copy"
exit $failed
