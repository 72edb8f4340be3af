#!/usr/bin/env python3
"""Writes the seed corpus of gguf_fuzzer into corpus/gguf: small, valid files that together hold every value
type, tensor type, alignment and version. Into regressions/gguf go the overflows for which GGUF readers are
known; inputs that the fuzzer finds are put beside them."""
import pathlib
import struct

HERE = pathlib.Path(__file__).parent
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
# ggml type id: (numbers in a block, bytes of a block)
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84),
          11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 20: (32, 18), 23: (256, 136),
          26: (1, 4), 30: (1, 2), 39: (32, 17)}


def text(value):
    value = value.encode()
    return struct.pack("<Q", len(value)) + value


def scalar(kind, value):
    return text(value) if kind == 8 else struct.pack("<" + SCALARS[kind], value)


def pair(key, kind, value):
    return text(key) + struct.pack("<I", kind) + scalar(kind, value)


def array(key, kind, values):
    body = b"".join(scalar(kind, value) for value in values)
    return text(key) + struct.pack("<IIQ", 9, kind, len(values)) + body


def gguf(pairs, tensors=(), version=3, alignment=32):
    """tensors: (name, ggml type, dimensions)."""
    infos, data = b"", b""
    for name, kind, dims in tensors:
        data += b"\0" * (-len(data) % alignment)
        infos += text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
        infos += struct.pack("<IQ", kind, len(data))
        count = 1
        for dim in dims:
            count *= dim
        data += b"\x11" * (count // BLOCKS[kind][0] * BLOCKS[kind][1])
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs) + infos
    return head + b"\0" * (-len(head) % alignment) + data


def write(folder, files):
    (HERE / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (HERE / folder / f"{name}.gguf").write_bytes(content)


def regressions():
    header = b"GGUF" + struct.pack("<I", 3)
    one_key = header + struct.pack("<QQ", 0, 1)
    strings = one_key + text("tokens") + struct.pack("<II", 9, 8)
    return {
        "key_length_wraps": one_key + struct.pack("<Q", 2**64 - 1) + b"\0" * 64,
        "string_length_wraps": one_key + text("name") + struct.pack("<IQ", 8, 2**64 - 8) + b"\0" * 64,
        "string_count_times_16_wraps": strings + struct.pack("<Q", 0x1000000000000001) + b"\0" * 64,
        "string_count_times_8_wraps": strings + struct.pack("<Q", 0x2000000000000001) + b"\0" * 64,
        "nested_arrays": one_key + text("a") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 500,
        "tensor_count_wraps": header + struct.pack("<QQ", 2**59, 0) + b"\0" * 64,
        "dimensions_wrap": gguf([], [("t", 0, [4])]).replace(
            struct.pack("<IQ", 1, 4), struct.pack("<IQQQ", 3, 2**32, 2**32, 4)),
        "size_wraps": gguf([], [("t", 0, [4])]).replace(struct.pack("<IQ", 1, 4), struct.pack("<IQ", 1, 2**62 + 4)),
        "offset_wraps": gguf([], [("t", 0, [8])]).replace(
            struct.pack("<QIQ", 8, 0, 0), struct.pack("<QIQ", 8, 0, 2**64 - 32)),
        "alignment_0": gguf([pair("general.alignment", 4, 0)], [("t", 0, [4])]),
    }


def seeds():
    scalars = [pair(f"k{kind}", kind, 1) for kind in SCALARS] + [pair("text", 8, "value")]
    arrays = [array(f"a{kind}", kind, [0, 1, 1]) for kind in SCALARS]
    words = array("tokenizer.ggml.tokens", 8, ["<s>", "", "the", "\u0120a"])
    return {
        "empty": gguf([]),
        "scalars": gguf(scalars),
        "arrays": gguf(arrays + [words, array("none", 4, [])]),
        "version2": gguf(scalars, [("t", 0, [4])], version=2),
        "alignment64": gguf([pair("general.alignment", 4, 64)], [("a", 0, [3]), ("b", 1, [5, 2])], alignment=64),
        "every_type": gguf([], [(f"blk.{kind}.weight", kind, [max(numbers, 8)]) for kind, (numbers, _) in BLOCKS.items()]),
        "four_dims": gguf([], [("experts", 2, [32, 2, 3, 1]), ("scalar", 0, [])]),
        "model": gguf([pair("general.architecture", 8, "llama"), pair("llama.block_count", 4, 1), words,
                       array("tokenizer.ggml.scores", 6, [0.0, -1.0, -2.0, -3.0])],
                      [("token_embd.weight", 1, [8, 4]), ("output_norm.weight", 0, [8])]),
        "split": gguf([pair("split.no", 2, 0), pair("split.count", 2, 2), pair("split.tensors.count", 5, 2)],
                      [("a", 0, [8])]),
    }


if __name__ == "__main__":
    write("corpus/gguf", seeds())
    write("regressions/gguf", regressions())
