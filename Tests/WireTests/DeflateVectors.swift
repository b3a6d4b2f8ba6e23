// Compressed by Python 3's zlib module (zlib 1.2.13), level 6, memory level 8, raw:
//
//     c = zlib.compressobj(6, zlib.DEFLATED, -bits, 8)
//     c.compress(message) + c.flush(zlib.Z_SYNC_FLUSH), without the last four bytes
//
// The same 64 letters stand in `first` at distances that need ever larger windows, so the vectors
// differ; `second` was compressed in the context of `first`.

enum DeflateVectors {
    static let letters = Array(
        "QkXvTjWzPqLmRbNcHdFsGyVuKiJoEaYtZxCwMnBpSlDrUhOfIgAeQyTkWvXjPzLq".utf8)

    static let first: [UInt8] =
        letters + repeated("x", 500) + letters + repeated("y", 2000) + letters
        + repeated("z", 9000) + letters + repeated("w", 20_000) + letters

    static let second: [UInt8] = letters + Array(" again".utf8)

    private static func repeated(_ letter: Unicode.Scalar, _ count: Int) -> [UInt8] {
        Array(repeating: UInt8(ascii: letter), count: count)
    }

    static let all: [(windowBits: UInt8, first: [UInt8], second: [UInt8])] = [
        (
            9,
            hex(
                """
                ecc1577682400040d1b5d1448a08d2fd5314948ed266569f6d2427efdea0c9d6a84ea53fb9dde5ee\
                15c7c7e16b8a6471def660dcf2f9ba6bdba957c7b0d53ff1eb5c5a95f20c44d4a46b56fbd29d76fc\
                3b4193ad519d4a7f72bbcbdd2b8e8fc3d714c9e2bcedc1b8e5f375d7b653af8e61ab7fe2d7b9b42a\
                e51988a849d7acf6a53b090000f0e7054db646752afdc9ed2e77af383e0e5f53248bf3b607e396cf\
                d75ddb4ebd3a86adfe895fe7d2aa946720a2265db3da97ee24010000000000000000000000807f20\
                68b235aa53e94f6e77b97bc5f171f89a22599cb73d18b77cbeeeda76ead5316cf54ffc3a9756a53c\
                031135e99ad5be74a70d00000000000000000000000000000000000000000000000000000000f02b\
                044db646752afdc9ed2e77af383e0e5f53248bf3b607e396cfd75ddb4ebd3a86adfe895fe7d2aa94\
                6720a2265db3da97eef403
                """),
            hex("a254bf42627a62661e00")
        ),
        (
            10,
            hex(
                """
                ecd25bba42500080d1b125e512b123b7b71285100a7b8ffe0ce2bc9cf3f5af312cd1247358c7ca1f\
                9cf6743de6e66d3f1932fa1c2abbdf5dd277b66e17b7d35ec1531fcf0fafb4ee9b42c8b089e7a4f6\
                9533acf83ae29767240000f8f74493cc611d2b7f70dad3f5989bb7fd64c8e873a8ec7e7749dfd9ba\
                5ddc4e7b054f7d3c3fbcd2ba6f0a21c3269e93da57cea0000000000000000000000000802f209a64\
                0eeb58f983d39eaec7dcbced2743469f4365f7bb4bfaced6ede276da2b78eae3f9e195d67d530819\
                36f19cd4be72860500000000000000000000000000000000000000000000000000000000f0278826\
                99c33a56fee0b4a7eb31376ffbc990d1e750d9fdee92beb375bbb89df60a9efa787e78a575df1442\
                864d3c27b5af9ce107
                """),
            hex("a254bf42627a62661e00")
        ),
        (
            11,
            hex(
                """
                ecd25bba42500080d1b125e512b123b7b71285100a7b8ffe0ce2bc9cf3f5af312cd1247358c7ca1f\
                9cf6743de6e66d3f1932fa1c2abbdf5dd277b66e17b7d35ec1531fcf0fafb4ee9b42c8b089e7a4f6\
                9533acf83ae29767240000f8f74493cc611d2b7f70dad3f5989bb7fd64c8e873a8ec7e7749dfd9ba\
                5ddc4e7b054f7d3c3fbcd2ba6f0a21c3269e93da57cea0000000000000000000000000802f209a64\
                0eeb58f983d39eaec7dcbced2743469f4365f7bb4bfaced6ede276da2b78eae3f9e195d67d530819\
                36f19cd4be72860500000000000000000000000000000000000000000000000000000000f0278826\
                99c33a56fee0b4a7eb31376ffbc990d1e750d9fdee92beb375bbb89df60a9efa787e78a575df1442\
                864d3c27b5af9ce107
                """),
            hex("a254bf42627a62661e00")
        ),
        (
            12,
            hex(
                """
                ecd64796a2000040c1b399132a282aba332b9830c3e9fb10bd99795d7586bff85196bce374568679\
                701ead06ebf6a6f96815d357efd8bd3696f3e7e25bfbf42fd5dbf854bf4f0ec35d675fd946459ccd\
                de491a9641fee5cf897ed94c0100fcf77efb03250000000000000000fc015196bce374568679701e\
                ad06ebf6a6f96815d357efd8bd3696f3e7e25bfbf42fd5dbf854bf4f0ec35d675fd946459ccdde49\
                1a9641fe01000000000000000000000000000000000000e09f1065c93b4e67659807e7d16ab06e6f\
                9a8f56317df58edd6b63397f2ebeb54fff52bd8d4ff5fbe430dc75f6956d54c4d9ec9da46119e43f\
                00
                """),
            hex("a254bf42627a62661e00")
        ),
        (
            13,
            hex(
                """
                ecd64796a2000040c1b399132a282aba332b9830c3e9fb10bd99795d7586bff85196bce374568679\
                701ead06ebf6a6f96815d357efd8bd3696f3e7e25bfbf42fd5dbf854bf4f0ec35d675fd946459ccd\
                de491a9641fee5cf897ed94c0100fcf77efb03250000000000000000fc015196bce374568679701e\
                ad06ebf6a6f96815d357efd8bd3696f3e7e25bfbf42fd5dbf854bf4f0ec35d675fd946459ccdde49\
                1a9641fe01000000000000000000000000000000000000e09f1065c93b4e67659807e7d16ab06e6f\
                9a8f56317df58edd6b63397f2ebeb54fff52bd8d4ff5fbe430dc75f6956d54c4d9ec9da46119e43f\
                00
                """),
            hex("a254bf42627a62661e00")
        ),
        (
            14,
            hex(
                """
                ecda479682000044c1b399734051d09d3960c280c2e9e7106e66de549de12f7ad1411267e1312a86\
                69f73c5af657cd75fdd1c8a7afcea17dad2d66cff9a7f2ee5dcab7f1a97a9fec07dbd6aeb409f230\
                89b2f8382cbae9877f27f8b2991c00f8f3bedd03050000000000000000fc03dffe6cde0000000000\
                0000000000000000000000000000fc0a411267e1312a8669f73c5af657cd75fdd1c8a7afcea17dad\
                2d66cff9a7f2ee5dcab7f1a97a9fec07dbd6aeb409f23089b2f8382cbae90f00
                """),
            hex("a254bf42627a62661e00")
        ),
        (
            15,
            hex(
                """
                ecdcb711c2000003c0d9c8196c30b123e760b23d3d43b881e37f06152a740af7a367b41ba641dc3c\
                7667ed797551be5592c1a3b1ad9f4bd3f17df22ebc5aa7fca577285efb9bceaab6ce2dc324da0f9f\
                a35d9036e3377f27cc98990400f87959fb400a00000000000000007f20ebcee60500000000000000\
                0000000000000000000000c057c8fa2ff701
                """),
            hex("a254bf42627a62661e00")
        ),
    ]
}
