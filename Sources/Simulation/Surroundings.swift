/// What every part of a simulation has at hand.
final class Surroundings {
    let chance: Chance
    let agenda: Agenda
    let trace: Trace
    var faults: Faults
    /// Rules that were broken, in order; the first one ends the run.
    private(set) var violations: [String] = []

    init(seed: UInt64, trace write: ((String) -> Void)?) {
        chance = Chance(seed: seed)
        faults = Faults(chance, seed: seed)
        agenda = Agenda(chance: chance)
        trace = Trace(agenda: agenda, write: write)
    }

    func violate(_ sentence: String) {
        trace.note("VIOLATION \(sentence)")
        violations.append(sentence)
    }

    func delay() -> UInt64 {
        chance.between(5 * .microsecond, max(10 * .microsecond, faults.delayMaxNanoseconds))
    }
}
