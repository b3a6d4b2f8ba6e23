// The fuzz targets, one program: `fuzz TARGET [libFuzzer's arguments]`. `scripts/fuzz.sh` builds
// and runs it; CONTRIBUTING.md says how. A target is a function of one input that traps when a
// property does not hold; libFuzzer keeps the input that did it.

import Glibc

// libFuzzer starts itself again for some of its work, with its own arguments only: the variable
// says which target that was.
let variable = "CHAT_SERVICE_FUZZ_TARGET"
let named = CommandLine.arguments.dropFirst().first.flatMap { name in
    fuzzTargets.first { $0.name == name }
}
let inherited = unsafe getenv(variable).flatMap { name in
    let name = unsafe String(cString: name)
    return fuzzTargets.first { $0.name == name }
}
guard let target = named ?? inherited else {
    let names = fuzzTargets.map(\.name).joined(separator: ", ")
    print("usage: fuzz TARGET [libFuzzer's arguments]; targets: \(names)")
    exit(64)
}
setenv(variable, target.name, 1)
exit(drive(target.run, argumentsTaken: named == nil ? 0 : 1))
