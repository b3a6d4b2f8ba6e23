// The writer and a reader of a store, driven from the test's thread: the test decides when what is
// folded.

import Bytes
import ChatModel
import Glibc
import Observability
import Reactor
import Rings
import Testing

@testable import Stores

final class Desk {
    let files: TemporaryDirectory
    let lines = LogLines()
    let tail = LogTail()
    let metrics = StoreMetrics()
    let connection: SQLiteConnection
    let writer: MessageWriter
    let reader: MessageReader
    private let bell = Doorbell.make()

    deinit { close(bell.descriptor) }

    init(
        _ files: TemporaryDirectory = TemporaryDirectory(), name: String = "messages.db",
        rules: FoldRules = .never
    ) throws(SQLiteError) {
        self.files = files
        let lines = lines
        let path = files.file(name)
        connection = try MessageSchema.open(path: path)
        writer = try MessageWriter(
            connection: connection, tail: tail, rules: rules, directory: tenants(), links: [],
            bell: bell, metrics: metrics, isStopping: StopFlag(), log: { lines.add($0.text) })
        try writer.recover()
        reader = try MessageReader(
            path: path, tail: tail,
            directoryStore: try DirectoryStore(path: files.file("directory.db")),
            directory: tenants(), links: [], bell: bell, metrics: metrics, isStopping: StopFlag(),
            log: { lines.add($0.text) })
    }

    func commit(_ units: [CommitUnit]) -> [CommitOutcome] {
        writer.batch = units.map { (core: 0, unit: $0) }
        writer.commit()
        writer.batch = []
        return writer.outcomes
    }

    func commit(_ unit: CommitUnit) -> CommitOutcome { commit([unit])[0] }

    /// Folds the `count` oldest entries.
    @discardableResult
    func fold(_ count: Int = .max) -> Bool {
        writer.foldInOwnTransaction(limit: count, all: true)
    }

    func page(_ job: ReadJob) -> Page? {
        guard case .answer(let answer) = reader.perform(job) else { return nil }
        switch answer.result {
        case .success(_, let body, _, _): return Page(ByteBlock(copying: body.bytes))
        case .failure(let problem): return Page(problem)
        }
    }

    func conversation(_ id: Identifier) -> Conversation? {
        guard case .ownerRead(.conversation(_, let row)) = reader.perform(.owner(.conversation(id)))
        else { return nil }
        return row?.row
    }

    /// Entries that are in the tail.
    func inTail(_ logs: [Log]) -> Int {
        logs.reduce(0) { $0 + tail.entries(of: $1.row.id).count }
    }

    func count(_ table: String) -> Int {
        guard let statement = try? connection.prepare("SELECT count(*) FROM \(table)"),
            (try? statement.step()) == true
        else { return -1 }
        return Int(statement.integer(0))
    }

    /// The files as a crash would leave them now, under another name.
    func copyAside() throws {
        for suffix in ["", "-wal"] {
            writeFile(files.file("copy.db" + suffix), readFile(files.file("messages.db" + suffix)))
        }
        _ = unsafe unlink(files.file("copy.db-shm"))
    }
}

extension FoldRules {
    /// Nothing is folded unless the test says so.
    static var never: FoldRules {
        var rules = FoldRules()
        rules.readyEntries = .max
        return rules
    }

    /// Everything is folded by the next transaction.
    static var eager: FoldRules {
        var rules = FoldRules()
        rules.readyEntries = 1
        return rules
    }
}

func readFile(_ path: String) -> [UInt8] {
    let descriptor = unsafe open(path, O_RDONLY)
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        // Safety: the array's bytes are written while it lives.
        let count = unsafe chunk.withUnsafeMutableBytes {
            unsafe read(descriptor, $0.baseAddress, $0.count)
        }
        guard count > 0 else { return bytes }
        bytes.append(contentsOf: chunk[..<count])
    }
}

extension [CommitOutcome] {
    var areCommitted: Bool { allSatisfy(\.isCommitted) }
    var areUnavailable: Bool { allSatisfy(\.isUnavailable) }
}

/// Makes every insert into the table fail, with an error that is no constraint.
let brokenEntries = """
    CREATE TRIGGER broken BEFORE INSERT ON entries
    BEGIN SELECT abs(-9223372036854775807-1); END
    """
