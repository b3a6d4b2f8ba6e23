// What may go wrong in a run, and how often. Decided by the seed at the start; every eighth run is
// calm, so that what must always work is seen to work.

struct Faults {
    var isCalm: Bool
    var coreCount: Int
    // The network, in percent or permille of the cases.
    var shortReadPercent = 0
    var shortWritePercent = 0
    var deferredSendPercent = 0
    var lateCompletionPercent = 0
    var acceptErrorPermille = 0
    var delayMaxNanoseconds: UInt64 = 200 * .microsecond
    var outboxBytes = 65_536
    var receiveBuffers = 32
    // The cores.
    var pausePermille = 0
    // The rings, in elements.
    var meshRingCapacity = 1024
    var storeRingCapacity = 1024
    // The store.
    var commitMaxNanoseconds: UInt64 = 2 * .millisecond
    var unavailablePermille = 0
    var conflictPermille = 0
    var stallPermille = 0
    var readFailurePermille = 0
    // The process and its clock.
    var crashCount = 0
    var clockJumpPermille = 0
    // The clients, in percent of what they do.
    var vanishPercent = 0
    var stallPercent = 0
    var malformedPercent = 0
    var floodPercent = 0
    var foreignPercent = 0
    /// Long texts, which fill outboxes.
    var isHeavy = false

    init(_ chance: Chance, seed: UInt64) {
        isCalm = seed % 8 == 0
        coreCount = 1 + chance.below(4)
        foreignPercent = 5
        shortReadPercent = chance.pick([0, 10, 60])
        shortWritePercent = chance.pick([0, 10, 60])
        deferredSendPercent = chance.pick([0, 10, 50])
        lateCompletionPercent = chance.pick([0, 5, 30])
        delayMaxNanoseconds = chance.pick([50 * .microsecond, .millisecond, 80 * .millisecond])
        receiveBuffers = chance.pick([2, 8, 64])
        meshRingCapacity = chance.pick([2, 8, 256])
        storeRingCapacity = chance.pick([2, 8, 256])
        commitMaxNanoseconds = chance.pick([.millisecond, 10 * .millisecond, 100 * .millisecond])
        guard !isCalm else { return }
        outboxBytes = chance.pick([1500, 16_384, 262_144])
        acceptErrorPermille = chance.pick([0, 0, 100])
        pausePermille = chance.pick([0, 2, 20])
        unavailablePermille = chance.pick([0, 0, 30, 200])
        conflictPermille = chance.pick([0, 0, 20])
        stallPermille = chance.pick([0, 5, 30])
        readFailurePermille = chance.pick([0, 0, 50])
        crashCount = chance.percent(40) ? 1 + chance.below(3) : 0
        clockJumpPermille = chance.pick([0, 0, 5])
        vanishPercent = chance.pick([0, 2, 8])
        stallPercent = chance.pick([0, 2, 8])
        malformedPercent = chance.pick([0, 2])
        floodPercent = chance.pick([0, 1, 3])
        isHeavy = chance.percent(10)
    }

    /// What a quiet period is like: nothing fails any more.
    mutating func end() {
        shortReadPercent = 0
        shortWritePercent = 0
        deferredSendPercent = 0
        lateCompletionPercent = 0
        acceptErrorPermille = 0
        pausePermille = 0
        unavailablePermille = 0
        conflictPermille = 0
        stallPermille = 0
        readFailurePermille = 0
        crashCount = 0
        clockJumpPermille = 0
        vanishPercent = 0
        stallPercent = 0
        malformedPercent = 0
        floodPercent = 0
        commitMaxNanoseconds = .millisecond
        delayMaxNanoseconds = min(delayMaxNanoseconds, .millisecond)
    }
}
