// Between libFuzzer and a target. In a file of its own: a C callback that is formed in `main.swift`
// would belong to the main actor.

import CFuzzer

private nonisolated(unsafe) var current: @Sendable ([UInt8]) -> Void = { _ in }

/// Runs the target as libFuzzer's arguments say; the exit code. So many arguments, at most one, are
/// not for libFuzzer: the program's name takes their place.
func drive(_ run: @escaping @Sendable ([UInt8]) -> Void, argumentsTaken: Int) -> Int32 {
    unsafe current = run
    var count = CommandLine.argc - Int32(argumentsTaken)
    let arguments = unsafe CommandLine.unsafeArgv
    unsafe arguments[argumentsTaken] = arguments[0]
    var rest: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? =
        unsafe arguments + argumentsTaken
    return unsafe LLVMFuzzerRunDriver(&count, &rest) { bytes, count in
        unsafe current(Array(UnsafeBufferPointer(start: bytes, count: count)))
        return 0
    }
}
