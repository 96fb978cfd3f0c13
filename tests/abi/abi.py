#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Compares include/whp with the Windows ABI, number by number.

abi.csv lists what the API consists of, with the numbers of two witnesses: mingw-w64's headers (source `mingw10` or `both`) and
Microsoft's of 2025 (`ms2025` or `both`). From it two C files are made that hold the same table, one compiled against our
headers, one for Windows against those of mingw-w64. The tables are read from the object files: nothing is linked or run.
Each number of ours must be mingw's where mingw has it, and the list's where it has not.

    abi.py WORKDIR        prints TAP; fails on any difference
"""
import collections, csv, os, struct, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MINGW = '/usr/share/mingw-w64/include'
MAGIC = 0x57485041424952AA  # starts each record of a table
OURS = ['clang', '--target=x86_64-unknown-none-elf', '-std=c11', '-ffreestanding', '-w', '-I' + ROOT + '/include',
        '-I' + ROOT + '/include/whp']
THEIRS = ['clang', '--target=x86_64-w64-mingw32', '-std=c11', '-w', '-isystem', MINGW]
HEADERS = ['WinHvPlatform.h', 'WinHvEmulation.h']
HDV = 'HyperVDeviceVirtualization.h'

# Scalars that the API is made of; not in abi.csv, compared with mingw.
SCALARS = '''INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 CHAR UCHAR SHORT USHORT INT UINT LONG ULONG LONGLONG
ULONGLONG BYTE WORD DWORD DWORD64 INT_PTR UINT_PTR SIZE_T WCHAR BOOL BOOLEAN PVOID HANDLE PCWSTR GUID LUID HRESULT
DEVICE_POWER_STATE'''.split()
CONSTANTS = '''TRUE FALSE S_OK S_FALSE E_NOTIMPL E_POINTER E_ABORT E_FAIL E_UNEXPECTED E_ACCESSDENIED E_HANDLE
E_OUTOFMEMORY E_INVALIDARG ERROR_SUCCESS ERROR_INVALID_DATA ERROR_NOT_SUPPORTED ERROR_INVALID_PARAMETER
ERROR_INSUFFICIENT_BUFFER ERROR_NOT_FOUND ERROR_INVALID_STATE PowerDeviceUnspecified PowerDeviceD0 PowerDeviceD1
PowerDeviceD2 PowerDeviceD3 PowerDeviceMaximum HRESULT_FROM_WIN32(0) HRESULT_FROM_WIN32(ERROR_NOT_FOUND)
HRESULT_FROM_WIN32(E_INVALIDARG) FAILED(E_FAIL) SUCCEEDED(S_FALSE)'''.split()

# Reserved members of mingw10 that ms2025 has put to use: ours are those of ms2025.
SUPERSEDED = set('''WHV_CAPABILITY_FEATURES.Reserved WHV_PROCESSOR_FEATURES.Reserved2 WHV_PROCESSOR_FEATURES1.Reserved2
WHV_PROCESSOR_FEATURES1.Reserved4 WHV_PROCESSOR_FEATURES1.Reserved5 WHV_SYNTHETIC_PROCESSOR_FEATURES.Reserved
WHV_PROCESSOR_XSAVE_FEATURES.Reserved WHV_ACCESS_GPA_CONTROLS.Reserved WHV_INTERRUPT_CONTROL.Reserved
WHV_X64_DELIVERABILITY_NOTIFICATIONS_REGISTER.Reserved WHV_SYNIC_EVENT_PARAMETERS.Reserved'''.split())


# Same offset, but ms2025 took bytes off its end (for Reserved1 and ConnectionVtl).
RESIZED = {'WHV_NOTIFICATION_PORT_PARAMETERS.Reserved'}


class Item:
    """One number (or pair): how to write it in C, which headers have it, what the list says."""

    def __init__(self, group, name, code, want, in_mingw, mask=2**64 - 1, in_ours=True):
        self.group, self.name, self.code, self.want, self.mask = group, name, code, want, mask
        self.in_mingw, self.in_ours = in_mingw, in_ours


def pair(a, b=0):
    return f'{{ .n = {{ (unsigned long long)({a}), {b} }} }}'


def items():
    """The items of abi.csv and the two lists above."""
    out, have_hdv = [], os.path.exists(f'{ROOT}/include/whp/{HDV}')
    for r in csv.DictReader(open(HERE + '/abi.csv')):
        kind, name, value, detail, source = r['kind'], r['name'], r['value'], r['detail'], r['source']
        if r['header'] == 'hvsocket.h' or (r['header'] == HDV and not have_hdv):
            continue
        mingw, ours = source in ('both', 'mingw10'), name not in SUPERSEDED
        add = lambda *a, **k: out.append(Item(*a, mingw, in_ours=ours, **k))
        if kind in ('struct', 'union', 'struct-alias', 'union-alias'):
            add('sizes', name, pair(f'sizeof({name})', f'_Alignof({name})'), (int(value), int(r['align'])))
        elif kind == 'enum':
            add('sizes', name, pair(f'sizeof({name})', f'_Alignof({name})'), (int(value), 4))
        elif kind == 'typedef':
            add('sizes', name, pair(f'sizeof({name})', f'_Alignof({name})'), None)
        elif kind == 'field':
            t, m = name.split('.', 1)
            size = 0 if name in RESIZED else f'sizeof((({t} *)0)->{m})'
            add('offsets', name, pair(f'offsetof({t}, {m})', size), (int(value), None))
        elif kind == 'bitfield':
            t, m = name.split('.', 1)
            add('bit-fields', name, (t, m), tuple(map(int, value.split(':'))))
        elif kind == 'enumerator':
            add('values', name, pair(name.split('.')[1]), (int(value, 0), 0), mask=2**32 - 1)
        elif kind in ('constant', 'hresult'):
            add('values', name, pair(name), (int(value, 0), 0), mask=2**32 - 1 if kind == 'hresult' else 2**64 - 1)
        elif kind == 'fnptr':
            want = detail.replace('CALLBACK ', '').replace('(', '(*)(', 1)
            add('functions', name, pair(f'__builtin_types_compatible_p({name}, {want})'), (1, 0))
        elif kind == 'function':
            want = detail.replace('(', '(*)(', 1)
            add('functions', name, pair(f'__builtin_types_compatible_p(__typeof__(&{name}), {want})'), (1, 0))
    for t in SCALARS:
        out.append(Item('sizes', t, pair(f'sizeof({t})', f'_Alignof({t})'), None, True))
    for c in CONSTANTS:
        out.append(Item('values', c, pair(c), None, True, mask=2**32 - 1))
    return out


def table(todo, include):
    """A C file with one record for each (id, item)."""
    c = include + ['#include <stddef.h>', '#define REC static const struct']
    attr = '__attribute__((section("abi"), used))'
    for i, it in todo:
        if it.group == 'bit-fields':
            t, m = it.code
            data, init = f'{t} v;', f'{{ .v = {{ .{m} = ~0ull }} }}'
        else:
            data, init = 'unsigned long long n[2];', it.code
        c.append(f'REC r{i} {{ unsigned long long magic, id, at, size; union {{ {data} }} u; }} t{i} {attr} ='
                 f' {{ {MAGIC}ull, {i}, offsetof(struct r{i}, u), sizeof(t{i}.u), {init} }};')
    return '\n'.join(c) + '\n'


def section(path):
    """Contents of section `abi` of an ELF64 or COFF object."""
    b = open(path, 'rb').read()
    if b[:4] == b'\x7fELF':
        at, size, n, names = struct.unpack_from('<Q', b, 40) + struct.unpack_from('<HHH', b, 58)
        hdr = [struct.unpack_from('<IIQQQQ', b, at + i * size) for i in range(n)]
        for h in hdr:
            if b[hdr[names][4] + h[0]:].split(b'\0', 1)[0] == b'abi':
                return b[h[4]:h[4] + h[5]]
    else:
        for i in range(struct.unpack_from('<H', b, 2)[0]):
            name, _, _, size, at = struct.unpack_from('<8sIIII', b, 20 + 40 * i)
            if name.rstrip(b'\0') == b'abi':
                return b[at:at + size]
    raise SystemExit(f'{path}: no section abi')


def bits(raw):
    """(position, width) of the one run of set bits."""
    v = int.from_bytes(raw, 'little')
    low = (v & -v).bit_length() - 1
    width = bin(v).count('1')
    return (low, width) if v and v >> low == (1 << width) - 1 else (low, f'{width} scattered')


def compile_table(name, todo, include, compiler):
    """Compiles the table and returns {id: numbers}."""
    open(name + '.c', 'w').write(table(todo, include))
    r = subprocess.run(compiler + ['-c', name + '.c', '-o', name + '.o'], capture_output=True, text=True)
    if r.returncode:
        errors = [line for line in r.stderr.split('\n') if 'error:' in line]
        print('not ok 1 - abi: the table compiles (%s)' % os.path.basename(name))
        print(''.join('# %s\n' % e for e in errors[:20]), end='')
        sys.exit(1)
    data, out, group = section(name + '.o'), {}, dict(todo)
    for at in range(0, len(data) - 31, 8):
        magic, i, off, size = struct.unpack_from('<QQQQ', data, at)
        if magic == MAGIC:
            raw = data[at + off:at + off + size]
            out[i] = bits(raw) if group[i].group == 'bit-fields' else struct.unpack('<QQ', raw)
    assert len(out) == len(todo), f'{name}: {len(out)} records, not {len(todo)}'
    return out


def differs(a, b, mask):
    """Is number pair a unlike b? None stands for not known."""
    def one(x, y):
        return y is not None and ((x & mask) != (y & mask) if isinstance(x, int) and isinstance(y, int) else x != y)
    return b is not None and any(one(x, y) for x, y in zip(a, b))


def main():
    work, every = sys.argv[1], list(enumerate(items()))
    os.makedirs(work, exist_ok=True)
    includes = [f'#include <{h}>' for h in HEADERS]
    hdv = [f'#include <{HDV}>'] if os.path.exists(f'{ROOT}/include/whp/{HDV}') else []
    ours = compile_table(work + '/ours', [(i, it) for i, it in every if it.in_ours], includes + hdv, OURS)
    mingw = {}
    if os.path.exists(MINGW + '/winhvplatform.h'):
        mingw = compile_table(work + '/mingw', [(i, it) for i, it in every if it.in_mingw],
                              ['#include <windows.h>'] + [f'#include <{h.lower()}>' for h in HEADERS], THEIRS)
    count, bad = collections.Counter(), collections.defaultdict(list)
    for i, it in every:
        g = it.group
        if i in mingw and differs(mingw[i], it.want, it.mask):
            bad[g].append(f'{it.name}: mingw {mingw[i]}, abi.csv {it.want}')
        if i not in ours:
            continue
        count[g] += 1
        if i in mingw and differs(ours[i], mingw[i], it.mask):
            bad[g].append(f'{it.name}: ours {ours[i]}, mingw {mingw[i]}')
        elif differs(ours[i], it.want, it.mask):
            bad[g].append(f'{it.name}: ours {ours[i]}, abi.csv {it.want}')
    groups = ['sizes', 'offsets', 'bit-fields', 'values', 'functions']
    print('ok 1 - abi: mingw headers' if mingw else 'ok 1 - abi: mingw headers # SKIP install mingw-w64-x86-64-dev')
    for n, g in enumerate(groups, 2):
        print('%s %d - abi: %d %s' % ('not ok' if bad[g] else 'ok', n, count[g], g))
        print(''.join(f'# {line}\n' for line in bad[g]), end='')
    total = sum(map(len, bad.values()))
    print('# abi: ' + ', '.join(f'{count[g]} {g}' for g in groups) + f' compared ({len(mingw)} with mingw), {total} differ')
    sys.exit(1 if total else 0)


main()
