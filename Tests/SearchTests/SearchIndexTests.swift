import Bytes
import ChatModel
import Glibc
import Testing

@testable import Search
@testable import Stores

@Suite struct SearchIndexTests {
    @Test func `A message is found by its words, by one tenant, by its user and by agents`() throws
    {
        let desk = try SearchDesk()
        let (ann, bob, foreign) = (Talk(), Talk(user: "bob"), Talk(tenant: 1))
        desk.commit([
            ann.unit("My Invoice is l\u{e4}te"), bob.unit("invoice please"),
            foreign.unit("invoice"),
            ann.unit("thanks"),
        ])
        #expect(desk.found("invoice").isEmpty, "nothing is indexed before the indexer has run")
        try desk.index()
        let anns = Place(conversation: ann.row.id, seq: 1)
        let bobs = Place(conversation: bob.row.id, seq: 1)
        #expect(desk.found("INVOICE") == [bobs, anns])
        #expect(desk.found("late invoice") == [anns] && desk.found("L\u{c4}TE") == [anns])
        #expect(desk.found("\"invoice is\"") == [anns] && desk.found("\"is invoice\"") == [])
        #expect(desk.found("inv*") == [bobs, anns] && desk.found("inv") == [])
        #expect(desk.found("invoice", desk.scope(user: "ann", isAgent: false)) == [anns])
        #expect(desk.found("please", desk.scope(user: "ann", isAgent: false)) == [])
        #expect(
            desk.found("invoice", desk.scope(1)) == [Place(conversation: foreign.row.id, seq: 1)])
        #expect(desk.found("--- ***") == [] && desk.found("nothing") == [])
    }

    @Test func `Internal notes are found by agents alone`() throws {
        let desk = try SearchDesk()
        let talk = Talk()
        desk.commit([
            talk.unit("hello"), talk.unit("secret note", isInternal: true),
            talk.unit("public secret"),
        ])
        try desk.index()
        let (note, open) = (
            Place(conversation: talk.row.id, seq: 2), Place(conversation: talk.row.id, seq: 3)
        )
        for user in [nil, "ann"] as [String?] {
            #expect(desk.found("note", desk.scope(user: user)) == [note])
            #expect(desk.found("note", desk.scope(user: user, isAgent: false)) == [])
            #expect(desk.found("secret", desk.scope(user: user, isAgent: false)) == [open])
        }
        #expect(desk.found("secret note", desk.scope(user: "ann", isAgent: false)) == [])
    }

    @Test func `A text that looks like the index's own words finds nothing by them`() throws {
        let desk = try SearchDesk()
        let (talk, foreign) = (Talk(), Talk(tenant: 1))
        let owner = OwnerTokens(tenant: ByteBlock("globex").bytes, userID: ByteBlock("ann").bytes)
        let writer = ByteWriter(capacity: 128)
        owner.write(foreign.row.id, isInternal: false, into: writer)
        desk.commit([foreign.unit("theirs"), talk.unit("mine \(writer.string())")])
        try desk.index()
        #expect(desk.found("mine", desk.scope(1)) == [] && desk.found("theirs") == [])
        #expect(desk.found(writer.string()) == [Place(conversation: talk.row.id, seq: 1)])
    }

    @Test(arguments: [false, true])
    func `Edits and deletions change what is found`(_ isFolding: Bool) throws {
        let desk = try SearchDesk(isFolding: isFolding)
        let talk = Talk()
        desk.commit([talk.unit("first words"), talk.unit("other")])
        try desk.index()
        let place = Place(conversation: talk.row.id, seq: 1)
        desk.commit([talk.unit("second words", kind: .edit, about: 1)])
        try desk.index()
        #expect(desk.found("first") == [] && desk.found("second") == [place])
        #expect(
            desk.page("second", desk.scope())?.found.first?.snippet.text == "second words"
        )
        // Two in one batch, and one that is about no message.
        desk.commit([
            talk.unit("third", kind: .edit, about: 1), talk.unit("fourth", kind: .edit, about: 1),
            talk.unit("fifth", kind: .edit, about: 99), talk.unit("sixth", kind: .edit, about: 3),
        ])
        try desk.index()
        for text in ["first", "second", "third", "fifth", "sixth"] {
            #expect(desk.found(text) == [])
        }
        #expect(desk.found("fourth") == [place])
        desk.commit([talk.unit("", kind: .redaction, about: 1)])
        try desk.index()
        #expect(desk.found("fourth") == [])
        desk.commit([talk.unit("back", kind: .edit, about: 1)])
        try desk.index()
        #expect(desk.found("back") == [] && desk.found("other").count == 1)
    }

    @Test func `A message that is deleted in the batch that brings it is not found`() throws {
        let desk = try SearchDesk()
        let talk = Talk()
        desk.commit([
            talk.unit("gone"), talk.unit("", kind: .redaction, about: 1), talk.unit("here"),
        ])
        try desk.index()
        #expect(desk.found("gone") == [] && desk.found("here").count == 1)
    }

    @Test func `After a crash at any point each entry is indexed once`() throws {
        let folder = Folder()
        let talks = (0..<4).map { Talk(user: "user\($0)") }
        var images: [[UInt8]?] = []
        do {
            let desk = try SearchDesk(folder)
            for round in 0..<10 {
                desk.commit(talks.map { $0.unit("word round\(round)") })
                desk.commit([talks[0].unit("edited round\(round)", kind: .edit, about: 1)])
                images.append(bytes(of: folder.file("search.db")))
                images.append(bytes(of: folder.file("search.db-wal")))
                if round % 3 == 1 { try desk.index() } else { _ = try desk.indexer.step() }
            }
        }
        for round in 0..<10 {
            for (index, suffix) in ["", "-wal"].enumerated() {
                if let image = images[round * 2 + index] {
                    write(folder.file("search.db" + suffix), image)
                }
            }
            _ = unsafe unlink(folder.file("search.db-shm"))
            let desk = try SearchDesk(folder)
            try desk.index()
            #expect(desk.count("documents") == 40 && desk.state.metrics.rebuilds.current == 0)
            #expect(desk.found("word").count == 4)
            #expect(desk.found("round0 edited") == [] && desk.found("edited round9").count == 1)
            // Taking out a text that is not there, or twice, would show as damage.
            #expect(throws: Never.self) {
                try SQLiteConnection(path: desk.state.path).run(
                    "INSERT INTO found(found) VALUES('integrity-check')")
            }
        }
    }

    @Test(arguments: ["missing", "garbage", "version", "cut", "other", "older"])
    func `A file that cannot be used is made again from the log`(_ what: String) throws {
        let folder = Folder()
        let talk = Talk()
        let path = folder.file("search.db")
        do {
            let desk = try SearchDesk(folder)
            desk.commit((0..<200).map { talk.unit("word number\($0)") })
            try desk.index()
        }
        switch what {
        case "missing":
            for suffix in ["", "-wal", "-shm"] { _ = unsafe unlink(path + suffix) }
        case "garbage": write(path, Array("this is no database at all, is it?".utf8))
        case "version": try SQLiteConnection(path: path).run("PRAGMA user_version=99")
        case "cut": write(path, Array((bytes(of: path) ?? []).prefix(8192)))
        case "other": try SQLiteConnection(path: path).run("UPDATE progress SET head=x'00'")
        default: try SQLiteConnection(path: path).run("UPDATE progress SET row=row+50")
        }
        let desk = try SearchDesk(folder)
        do { try desk.index() } catch {}
        let rebuilt = desk.state.metrics.rebuilds.current
        if what == "cut", rebuilt == 0 {
            // The head is as it was; whoever reads further meets the damage.
            #expect(desk.page("word", desk.scope()) == nil && desk.state.isDamaged)
            return
        }
        #expect(rebuilt == (what == "missing" ? 0 : 1))
        #expect(desk.found("number0").count == 1 && desk.found("number199").count == 1)
        #expect(desk.count("documents") == 200)
    }

    @Test func `Damage that is met makes the index again, and finders take the new file`() throws {
        let desk = try SearchDesk()
        let talk = Talk()
        desk.commit((0..<50).map { talk.unit("word number\($0)") })
        try desk.index()
        #expect(desk.found("number7").count == 1)
        desk.state.didFindDamage(in: desk.state.currentGeneration)
        #expect(desk.state.isDamaged && desk.indexer.makeReady() && !desk.state.isDamaged)
        #expect(desk.state.metrics.rebuilds.current == 1 && desk.found("number7") == [])
        try desk.index()
        #expect(desk.found("number7").count == 1 && desk.count("documents") == 50)
        // What was said of the file before says nothing of this one.
        desk.state.didFindDamage(in: desk.state.currentGeneration - 1)
        #expect(!desk.state.isDamaged)
    }

    @Test func `The thread ends when it is told, whatever it does`() throws {
        let desk = try SearchDesk()
        let talk = Talk()
        desk.commit((0..<50).map { talk.unit("word number\($0)") })
        let handover = Handover(desk.indexer)
        RunningSearch(state: desk.state) { handover.worker.run() }.stop()
        #expect(desk.state.isStopping.isSet)
    }

    @Test func `Without an index nothing can be found, and that is said`() throws {
        let desk = try SearchDesk()
        let state = SearchState(path: desk.folder.file("none.db"))
        let finder = SearchFinder(
            state, try LogFollower(path: desk.folder.file("messages.db"), tail: desk.tail))
        let query = SearchQuery(
            scope: desk.scope(), expression: ByteBlock("\"a\""), position: nil, direction: .forward,
            limit: 5)
        #expect(finder.find(query) { _ in true } == nil)
        close(state.bell.descriptor)
    }
}
