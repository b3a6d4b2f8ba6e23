import Bytes
import ChatModel
import Glibc
import Testing

@testable import Stores

@Suite struct ReopenTests {
    @Test func `Reopening the file keeps everything`() throws {
        let files = TemporaryDirectory()
        let log = Log()
        do {
            let rig = try Rig(files)
            _ = rig.commit(
                log.unit(
                    [
                        log.entry(1, key: 3, fingerprint: 8),
                        log.entry(2, answers: 1, isInbound: false),
                    ], .insert))
            rig.stop()
        }
        let rig = try Rig(files)
        #expect(rig.conversation(log.row.id)?.lastSeq == 2)
        #expect(rig.page(history(log.row.id))?.seqs == [1, 2])
        let found = rig.commit(log.unit([log.entry(3, key: 3)]))?.duplicate
        #expect(found?.answer.fingerprint == 8 && found?.answer.reply != nil)
        #expect(rig.commit(log.unit([log.entry(3)]))?.isCommitted == true)
    }

    @Test func `Units that were handed over before a stop are committed`() throws {
        let files = TemporaryDirectory()
        let logs = (0..<200).map { Log(user: "u\($0)") }
        do {
            let rig = try Rig(files)
            rig.send(logs.map { $0.first() }, core: 0)
            rig.stop()
        }
        let rig = try Rig(files)
        for log in logs { #expect(rig.conversation(log.row.id)?.lastSeq == 1) }
    }

    @Test func `Conversations of a tenant that is no longer known do not exist`() throws {
        let files = TemporaryDirectory()
        let (ours, theirs) = (Log(), Log(tenant: 1))
        do {
            let rig = try Rig(files)
            _ = rig.commit([ours.first(), theirs.first()])
            rig.stop()
        }
        let rig = try Rig(files, directory: tenants(["acme"]))
        #expect(rig.conversation(ours.row.id) != nil)
        #expect(rig.conversation(theirs.row.id) == nil)
        #expect(rig.page(history(theirs.row.id))?.problem?.code == .notFound)
    }

    @Test func `A tenant keeps its conversations when its place in the directory changes`() throws {
        let files = TemporaryDirectory()
        let log = Log(tenant: 1)
        do {
            let rig = try Rig(files)
            _ = rig.commit(log.first())
            rig.stop()
        }
        let rig = try Rig(files, directory: tenants(["globex", "acme"]))
        #expect(rig.conversation(log.row.id)?.tenant == TenantIndex(0))
    }
}

@Suite struct DamagedFileTests {
    private func error(_ bytes: [UInt8]) -> SQLiteError? {
        let files = TemporaryDirectory()
        writeFile(files.file("messages.db"), bytes)
        do throws(SQLiteError) {
            _ = try Rig(files)
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: [15, 100, 512, 4096, 70_000])
    func `A file that is no database is refused when it is opened`(_ count: Int) {
        let found = error([UInt8](repeating: 0xA5, count: count))
        #expect(found?.isCorruption == true)
        #expect(found?.description.isEmpty == false)
    }

    @Test func `A database's header with garbage behind it is refused`() {
        let header = Array("SQLite format 3\0".utf8)
        #expect(error(header + [UInt8](repeating: 0xFF, count: 8000)) != nil)
    }

    @Test func `A schema page of garbage is refused`() throws {
        let files = TemporaryDirectory()
        do {
            let rig = try Rig(files)
            _ = rig.commit(Log().first())
            try rig.runOutside("PRAGMA wal_checkpoint(TRUNCATE)")
            rig.stop()
        }
        let descriptor = unsafe open(files.file("messages.db"), O_RDWR)
        let garbage = [UInt8](repeating: 0x5A, count: 3900)
        // Safety: the array's bytes are read while it lives.
        let written = unsafe garbage.withUnsafeBytes {
            unsafe pwrite(descriptor, $0.baseAddress, $0.count, 100)
        }
        close(descriptor)
        #expect(written == garbage.count)
        #expect(throws: SQLiteError.self) { try Rig(files) }
    }

    @Test(arguments: [2, 3, 99, -1])
    func `A file of an unknown schema is refused and left as it is`(_ version: Int) throws {
        let files = TemporaryDirectory()
        let other = try SQLiteConnection(path: files.file("messages.db"))
        try other.run(
            "CREATE TABLE kept(x); INSERT INTO kept VALUES(7); PRAGMA user_version=\(version)")
        #expect(throws: SQLiteError.self) { try Rig(files) }
        let tables = try other.prepare("SELECT group_concat(name) FROM sqlite_master")
        _ = try tables.step()
        #expect(tables.text(0) == "kept")
    }

    @Test(arguments: ["/nonexistent/dir", "/proc/1", "/dev/null"])
    func `A place where no file can be made is refused`(_ place: String) {
        #expect(throws: SQLiteError.self) {
            try MessageStore().start(
                path: place + "/messages.db", directoryPath: place + "/d.db", directory: tenants(),
                coreBells: [], readerCount: 1, log: { _ in })
        }
    }
}

@Suite struct WriterFailureTests {
    @Test func `While the store cannot write, units are unavailable, reads go on, and it recovers`()
        throws
    {
        let rig = try Rig()
        let log = Log()
        _ = rig.commit(log.first(2))
        // A trigger that cannot run: every commit of entries fails, reading does not.
        try rig.runOutside(
            "CREATE TRIGGER broken BEFORE INSERT ON log BEGIN SELECT no_such_function(); END")
        let outcomes = rig.commit([Log(user: "a").first(), log.unit([log.entry(3, key: 1)])])
        #expect(outcomes.allSatisfy(\.isUnavailable) && outcomes.count == 2)
        #expect(rig.store.metrics.isWritable.current == 0)
        #expect(rig.store.metrics.failures.current == 1)
        #expect(rig.commit(log.unit([log.entry(3, key: 1)]))?.isUnavailable == true)
        #expect(rig.lines.all.count == 1, "it is said once, not with each batch")
        #expect(rig.lines.all.first?.contains("no_such_function") == true)
        #expect(rig.page(history(log.row.id))?.seqs == [1, 2])
        try rig.runOutside("DROP TRIGGER broken")
        #expect(
            rig.commit(log.unit([log.entry(3, key: 1)]))?.isCommitted == true,
            "nothing was kept before")
        #expect(rig.store.metrics.isWritable.current == 1)
        #expect(rig.page(history(log.row.id))?.seqs == [1, 2, 3])
    }

    @Test func `A store that cannot write finds out by itself that it can again`() throws {
        var rules = FoldRules()
        rules.pauseMilliseconds = 0
        let desk = try Desk(rules: rules)
        let log = Log()
        #expect(!desk.writer.isProbeDue && desk.writer.millisecondsToSleep() == -1)
        try desk.connection.run(
            "CREATE TRIGGER broken BEFORE INSERT ON log BEGIN SELECT no_such_function(); END")
        #expect(desk.commit(log.first()).isUnavailable)
        #expect(desk.writer.isProbeDue && desk.writer.millisecondsToSleep() == 0)
        desk.writer.probe()
        #expect(desk.metrics.isWritable.current == 0)
        try desk.connection.run("DROP TRIGGER broken")
        desk.writer.probe()
        #expect(desk.metrics.isWritable.current == 1)
        #expect(!desk.writer.isProbeDue)
        #expect(desk.count("log") == 0)
        #expect(desk.commit(log.first()).isCommitted)
    }

    @Test
    func `A unit whose row cannot be written takes its whole batch with it, and none of it stays`()
        throws
    {
        let rig = try Rig()
        // An overflow while the second unit's row is written; that is no constraint.
        try rig.runOutside(
            """
            CREATE TRIGGER broken BEFORE INSERT ON conversations WHEN new.user_id='bob'
            BEGIN SELECT abs(-9223372036854775807-1); END
            """)
        let (ann, bob) = (Log(), Log(user: "bob"))
        let unit = ann.unit([ann.entry(1, key: 1), ann.entry(2), ann.entry(3)], .insert)
        #expect(rig.commit([unit, bob.first()]).areUnavailable)
        #expect(rig.conversation(ann.row.id) == nil && rig.conversation(bob.row.id) == nil)
        #expect(
            rig.commit(ann.unit([ann.entry(1, key: 1), ann.entry(2)], .insert))?.isCommitted == true
        )
    }

    @Test func `Reads of a broken table are told as unavailable and logged`() throws {
        let files = TemporaryDirectory()
        let log = Log()
        do {
            let rig = try Rig(files)
            _ = rig.commit(log.first())
            rig.stop()
        }
        // A stop has folded the entry: it is read from the table.
        let rig = try Rig(files)
        try rig.runOutside("ALTER TABLE entries RENAME TO hidden")
        #expect(rig.page(history(log.row.id))?.problem?.code == .temporarilyUnavailable)
        guard
            case .ownerRead(.unavailable(.conversation(let id)))? = rig.read(
                .owner(.conversation(log.row.id)))
        else {
            Issue.record("a read that fails is unavailable")
            return
        }
        #expect(id == log.row.id)
        let query = ReplayQuery(
            origin: origin, conversation: log.row.id, afterSeq: 0, throughSeq: 9)
        guard case .replayed(let page)? = rig.read(.replay(query)) else { return }
        #expect(page.frames == nil)
        #expect(rig.lines.all.count == 3)
        try rig.runOutside("ALTER TABLE hidden RENAME TO entries")
        #expect(rig.page(history(log.row.id))?.seqs == [1])
    }

    @Test
    func `A full disk refuses units, keeps what is there, and is written again once there is room`()
        async
    {
        await #expect(processExitsWith: .success) {
            signal(SIGXFSZ, SIG_IGN)
            guard let rig = try? Rig() else { exit(2) }
            let log = Log()
            guard rig.commit(log.first(2))?.isCommitted == true else { exit(3) }
            // No file of this process may grow beyond this: SQLite's write fails as on a full disk.
            setFileSizeLimit(400_000)
            let text = String(repeating: "x", count: 50_000)
            var seq: UInt64 = 3
            while rig.commit(log.unit([log.entry(seq, text: text)]))?.isCommitted == true, seq < 100
            { seq += 1 }
            guard seq > 3, seq < 100, rig.store.metrics.isWritable.current == 0 else { exit(4) }
            guard rig.conversation(log.row.id)?.lastSeq == seq - 1 else { exit(5) }
            guard rig.page(history(log.row.id, limit: 200))?.seqs == Array(1..<seq) else { exit(6) }
            guard rig.commit(log.unit([log.entry(seq, text: text)]))?.isUnavailable == true else {
                exit(7)
            }
            setFileSizeLimit(nil)
            guard rig.commit(log.unit([log.entry(seq, text: text)]))?.isCommitted == true else {
                exit(8)
            }
            guard rig.store.metrics.isWritable.current == 1 else { exit(9) }
            guard rig.page(history(log.row.id, limit: 200))?.seqs == Array(1...seq) else {
                exit(10)
            }
            rig.stop()
            exit(0)
        }
    }
}

/// Bytes; nil lifts the limit.
private func setFileSizeLimit(_ bytes: UInt?) {
    let resource = __rlimit_resource_t(RLIMIT_FSIZE.rawValue)
    var limit = rlimit()
    // Safety: getrlimit writes the structure and setrlimit reads it.
    guard unsafe getrlimit(resource, &limit) == 0 else { exit(20) }
    limit.rlim_cur = bytes ?? limit.rlim_max
    guard unsafe setrlimit(resource, &limit) == 0 else { exit(21) }
}
