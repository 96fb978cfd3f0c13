#!/bin/sh
# SPDX-License-Identifier: MIT
# What no source of the library may contain. Comments and strings do not count, but for the words of the last check.
. "$(dirname "$0")/tap.sh"

# Copies of the sources without comments and string contents, with the same line numbers.
strip() {
    awk '{
        line = $0; out = ""
        while (line != "") {
            if (inside) { if (i = index(line, "*/")) { line = substr(line, i + 2); inside = 0 } else line = "" }
            else if (match(line, /\/\*|\/\/|"([^"\\]|\\.)*"|\047([^\047\\]|\\.)*\047/)) {
                out = out substr(line, 1, RSTART - 1); t = substr(line, RSTART, 2)
                if (t == "/*") inside = 1
                else if (t == "//") { line = ""; continue }
                else if ($0 ~ /^[ \t]*#[ \t]*include/) out = out substr(line, RSTART, RLENGTH)
                else out = out "\"\""
                line = substr(line, RSTART + (inside ? 2 : RLENGTH))
            } else { out = out line; line = "" }
        }
        print out
    }' "$1"
}

rm -rf "$WORK/stripped"
for file in $(sources $LIBRARY include | grep '\.[ch]$'); do
    mkdir -p "$WORK/stripped/$(dirname "$file")"
    strip "$file" >"$WORK/stripped/$file"
done
mkdir -p "$WORK/stripped/include"

# find_in PATTERN FOLDERS-AND-FILES: prints `file:line: text` of the stripped sources
find_in() {
    pattern=$1
    shift
    (cd "$WORK/stripped" && for place in "$@"; do [ -e "$place" ] && grep -rnE "$pattern" "$place"; done) | sed 's/[[:space:]]\{1,\}/ /g'
}

find_in '(^|[^A-Za-z0-9_])extern([^A-Za-z0-9_]|$)' $LIBRARY | grep '\.c:' >>"$findings"
report "source: no extern in a .c file"

# Include guards are the only conditionals that may name a vendor or a host: they end in _H.
find_in '^ *# *(el)?if' $LIBRARY include |
    grep -iE '(intel|amd|vmx|svm|hygon|win32|windows|linux|unix|apple|bsd|hosted|uefi|kvm)' |
    grep -vE '_H *$|^include/whp/WinHvTypes.h:' >>"$findings"
report "source: no #ifdef on CPU vendor or host"

find_in '(^|[^A-Za-z0-9_>.])(malloc|calloc|realloc|free|printf|sprintf|snprintf|puts|abort|exit|assert|strlen|strcpy|strcmp) *\(' $LIBRARY include/hv >>"$findings"
report "source: no call of libc"

find_in '(^|[^A-Za-z0-9_])(float|double|long double|_Thread_local|alloca|setjmp)([^A-Za-z0-9_]|$)' $LIBRARY include >>"$findings"
report "source: no floating point, thread-local storage or alloca"

find_in '(^|[^A-Za-z0-9_])(asm|__asm|__asm__)([^A-Za-z0-9_]|$)' base drivers virt include >>"$findings"
report "source: no assembly outside arch/"

# One kind of CPU's words, in code and comments. Allowed are names that others gave:
#   WHP's features (comments of virt/features.c) and vendors; the manuals' names of MSRs that are there to be refused;
#   in hv.h the backends' names, which clients may show, and what hv_vp_raw_get's number is.
VENDOR_WORDS='vmx|svm|vmcs|vmcb|vmcall|vmmcall|vmrun|avic|apicv|vpid|asid|amd|hygon|intel([^l]|$)|(^|[^A-Za-z])ept([^A-Za-z]|$)'
ALLOWED='/\* [A-Za-z0-9]*(Amd|Intel)[A-Za-z0-9]*Support \*/|HV_VENDOR_(AMD|INTEL)'
ALLOWED=$ALLOWED'|MSR_IA32_VMX_(BASIC|EXIT_CTLS2)|MSR_AMD_(VM_CR|VM_HSAVE_PA|SVM_KEY)|VM_CR_SVMDIS'
ALLOWED=$ALLOWED'|"VMX", "SVM", or "none"|by the CPU.s own number: VMCS|encoding, or offset in the VMCB'
grep -niE "$VENDOR_WORDS" $(sources virt include/hv) /dev/null | sed -E "s#$ALLOWED##g" | grep -iE "$VENDOR_WORDS" >>"$findings"
report "source: no word of one kind of CPU above arch/"

find_in '^ *# *if +0' $LIBRARY include >>"$findings"
grep -nE '\<(TODO|FIXME|XXX|HACK)\>' $(sources $LIBRARY include) /dev/null >>"$findings"
report "source: no dead code, no TODO"

for file in $(sources $LIBRARY include); do
    head -n 1 "$file" | grep -q 'SPDX-License-Identifier: MIT' || echo "$file: first line is not the licence" >>"$findings"
done
report "source: each file starts with its licence"
exit $failed
