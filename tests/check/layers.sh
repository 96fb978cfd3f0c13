#!/bin/sh
# SPDX-License-Identifier: MIT
# Proves DESIGN's table of who may include what. Everything that a rule does not name is forbidden.
. "$(dirname "$0")/tap.sh"

# `files    what they may include`: the first rule whose pattern fits the file counts. STD stands for the freestanding C
# headers, OTHER for what is neither ours nor STD (a kernel's own headers, GNU-EFI); patterns are awk's.
cat >"$WORK/rules" <<'END'
^include/hv/                 STD ^include/hv/
^include/whp/                STD ^include/hv/ ^include/whp/
^base/                       STD ^include/hv/
^arch/x86_64/include/        STD ^include/hv/ ^arch/x86_64/include/
^arch/x86_64/vmx/            STD ^include/hv/ ^arch/x86_64/include/ ^arch/x86_64/vmx/ ^arch/x86_64/[^/]*$
^arch/x86_64/svm/            STD ^include/hv/ ^arch/x86_64/include/ ^arch/x86_64/svm/ ^arch/x86_64/[^/]*$
^arch/x86_64/iommu/          STD ^include/hv/ ^arch/x86_64/include/ ^arch/x86_64/iommu/ ^arch/x86_64/[^/]*$
^arch/x86_64/                STD ^include/hv/ ^arch/x86_64/
^drivers/pci/                STD ^include/hv/ ^arch/x86_64/include/ ^drivers/pci/
^virt/whp/                   STD ^include/hv/ ^include/whp/ ^virt/whp/
^virt/                       STD ^include/hv/ ^arch/x86_64/include/ ^drivers/pci/ ^virt/[^/]*$
^boot/                       STD OTHER ^include/ ^boot/ ^vmm/
^tests/port/                 STD OTHER ^include/ ^tests/port/
^vmm/                        STD ^include/whp/ ^vmm/
^tests/guests/               STD ^include/whp/ ^tests/guests/
END

# Every include as `file:line target`: quoted names are looked for beside the file, then along -I; names of neither kind stay as they are.
awk '
function exists(f,    x) { if (!(f in seen)) { seen[f] = (getline x < f) >= 0; close(f) } return seen[f] }
function tidy(p) { while (sub(/[^\/]+\/\.\.\//, "", p)); gsub(/(^|\/)\.\//, "/", p); sub(/^\//, "", p); return p }
/^[ \t]*[#%][ \t]*include[ \t]*[<"]/ {
    match($0, /[<"][^>"]*[>"]/)
    name = substr($0, RSTART + 1, RLENGTH - 2)
    dir = FILENAME; sub(/[^\/]*$/, "", dir)
    n = split((substr($0, RSTART, 1) == "\"" ? dir " " : "") "include/ include/whp/ arch/x86_64/include/ arch/x86_64/ drivers/ boot/include/ vmm/include/", path, " ")
    target = "<" name ">"
    for (i = 1; i <= n; i++) { p = tidy(path[i] name); if (exists(p)) { target = p; break } }
    print FILENAME ":" FNR, target
}' $(sources include $LIBRARY boot vmm tests/port tests/guests) /dev/null >"$WORK/includes"

check() { # NAME PATTERN: the includes of the files that fit
    awk -v scope="$2" '
    BEGIN { split("float iso646 limits stdalign stdarg stdbool stddef stdint stdnoreturn", s, " "); for (i in s) std["<" s[i] ".h>"] }
    NR == FNR { rule[++rules] = $1; may[rules] = " "; for (i = 2; i <= NF; i++) may[rules] = may[rules] $i " "; next }
    $1 ~ scope {
        file = $1; sub(/:.*/, "", file)
        for (r = 1; r <= rules && file !~ rule[r]; r++);
        if ($2 == "<offsets.inc>") next # made by the compiler from offsets.c
        if ($2 in std) { if (index(may[r], " STD ")) next }
        else if ($2 ~ /^</) { if (index(may[r], " OTHER ")) next }
        else { n = split(may[r], p, " "); for (i = 1; i <= n; i++) if ($2 ~ p[i]) next }
        print $1 ": must not include " $2
    }' "$WORK/rules" "$WORK/includes" >>"$findings"
    report "layers: $1 ($(grep -cE "$2" "$WORK/includes") includes)"
}

check "public headers include freestanding C headers, hv/ and whp/ only" '^include/'
check "base/ includes hv/ only"                                          '^base/'
check "arch/ includes neither virt/, drivers/ nor whp/, vmx/ not svm/"   '^arch/'
check "drivers/ includes neither virt/, whp/ nor vendor headers"         '^drivers/'
check "virt/ includes neither vendor headers nor whp/"                   '^virt/[^/]*:'
check "virt/whp/ is a shim: whp/ and hv/ only"                           '^virt/whp/'
check "boot/ and tests/port/ include nothing private to the library"     '^(boot|tests/port)/'
check "vmm/ and tests/guests/ are clients: whp/ only"                    '^(vmm|tests/guests)/'
exit $failed
