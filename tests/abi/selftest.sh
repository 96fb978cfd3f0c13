#!/bin/sh
# SPDX-License-Identifier: MIT
# Does abi.py find anything? Changes one thing of the headers at a time, in a copy, and expects it to be named.
. "$(dirname "$0")/../check/tap.sh"

change() { # NAME SED-COMMAND: what must be named in the diagnostics
    rm -rf "$WORK/tree"
    mkdir -p "$WORK/tree/tests" "$WORK/tree/include"
    cp -r include/whp "$WORK/tree/include/"
    cp -r tests/abi "$WORK/tree/tests/"
    sed -i "$2" "$WORK/tree/include/whp/"WinHv*.h
    diff -r include/whp "$WORK/tree/include/whp" >/dev/null && echo "sed '$2' changes nothing" >>"$findings"
    "$WORK/tree/tests/abi/abi.py" "$WORK/tables" >"$WORK/tap" && echo "abi.py passes: $2" >>"$findings"
    grep -qE "^# .*$1" "$WORK/tap" || echo "abi.py does not name $1: $2" >>"$findings"
}

change 'WHV_UINT128'                              's/DECLSPEC_ALIGN(16) WHV_UINT128/WHV_UINT128/'
change 'WHV_RUN_VP_EXIT_CONTEXT'                  's/UINT64 AsUINT64\[22\]/UINT64 AsUINT64[24]/'
change 'WHV_X64_SEGMENT_REGISTER.Selector'        's/^    UINT16 Selector;/    UINT32 Selector;/'
change 'WHV_MEMORY_ACCESS_INFO.GvaValid'          's/UINT32 GpaUnmapped *: 1;/UINT32 GpaUnmapped : 2;/'
change 'WHV_X64_PROCESSOR_FEATURES.SmepSupport'   's/SmepSupport/Swap/; s/RdWrFsGsSupport/SmepSupport/; s/Swap/RdWrFsGsSupport/'
change 'WHvX64RegisterGdtr'                       's/\(WHvX64RegisterGdtr *= 0x0000001\)B/\1C/'
change 'WHV_E_UNKNOWN_PROPERTY'                   's/0x80370302/0x80370312/'
change 'WHvMapGpaRange'                           's/^\(HRESULT WHVAPI WHvMapGpaRange(.*\) VOID \*SourceAddress/\1 UINT64 SourceAddress/'
change 'BOOLEAN'                                  's/uint8_t BOOLEAN/int32_t BOOLEAN/'
change 'WHvCapabilityCodePhysicalAddressWidth'    's/\(WHvCapabilityCodePhysicalAddressWidth *= 0x100\)A/\1B/'
report "abi: a changed header is found"
rm -rf "$WORK/tree"
exit $failed
