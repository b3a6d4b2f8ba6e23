// Every word that the chat says, by language. A text with plural forms is an object whose keys are
// those of Intl.PluralRules. A page overrides any of them by name (`texts`), and the common ones by
// attributes of their own.

const RIGHT_TO_LEFT = new Set(["ar", "fa", "he", "ur"]);

const TEXTS = {
  en: {
    title: "Chat", greeting: "How can we help?", placeholder: "Write a message",
    intro: "Ask in your own words. The answer appears right here, and you can ask for a person at any time.",
    suggestions: ["Hello", "Where is my order?", "Talk to a human"],
    open: "Open the chat", close: "Close the chat", dismiss: "Close", skip: "Skip to the message box",
    unread: { one: "{n} unread message", other: "{n} unread messages" },
    connecting: "Connecting…", reconnecting: "Reconnecting…", online: "Connected",
    noNetwork: "You are offline", retrying: "Offline, trying again", stopped: "Not connected",
    offline: "We cannot reach the chat right now. What you write is kept and sent later.",
    tryNow: "Try now", tryAgain: "Try again", discard: "Delete",
    replaced: "The chat continues in another window.", useHere: "Use it here",
    forbidden: "This chat is not open to you.", unexpected: "The service did not answer as expected.",
    rateLimited: {
      one: "That was a lot in a short time. The chat goes on in {n} second; nothing is lost.",
      other: "That was a lot in a short time. The chat goes on in {n} seconds; nothing is lost.",
    },
    humanAnswers: "a person answers", botAnswers: "the assistant answers",
    conversation: "Conversation", messages: "Messages", newMessages: "New messages",
    compose: "Write a message", message: "Message", send: "Send", stop: "Stop", stopAnswer: "Stop the answer",
    attach: "Attach a file", cannotAttach: "Files cannot be sent in this chat yet. Please describe in words what they show.",
    keys: "Enter sends, Shift + Enter starts a new line",
    left: { one: "{n} character left", other: "{n} characters left" },
    sending: "Sending…", waiting: "Waiting for the connection", sent: "Sent", delivered: "Delivered", read: "Read",
    notSent: "Not sent. {reason}", unconfirmed: "The chat did not confirm it.",
    refused: "The chat could not take this message.", kept: "It has been waiting for more than a day.",
    loadingOlder: "Loading earlier messages…", olderFailed: "Earlier messages did not load.",
    newConversation: "A new conversation starts here", humanJoined: "A person has joined and answers from here",
    botAgain: "The assistant answers again", closed: "This conversation was closed",
    reopened: "This conversation is open again", edited: "Edited", reactions: "Reactions", removed: "This message was removed",
    youSaid: "You said:", latest: "Latest messages",
    newCount: { one: "{n} new message", other: "{n} new messages" },
    choices: "Choices", suggested: "Suggested replies", cards: "Cards", choose: "Choose",
    image: "Image", file: "File", location: "Location", notShown: "This message cannot be shown here.",
    notLoaded: "This attachment did not load.", agent: "Agent", assistant: "Assistant",
    writing: "{name} is writing", wasStopped: "Stopped",
    interrupted: "The answer was interrupted. Please ask again.", today: "Today", yesterday: "Yesterday",
  },
  de: {
    title: "Chat", greeting: "Wie können wir helfen?", placeholder: "Nachricht schreiben",
    intro: "Fragen Sie in eigenen Worten. Die Antwort erscheint gleich hier, und Sie können jederzeit nach einem Menschen fragen.",
    suggestions: ["Hallo", "Wo ist meine Bestellung?", "Mit einem Menschen sprechen"],
    open: "Chat öffnen", close: "Chat schließen", dismiss: "Schließen", skip: "Zum Nachrichtenfeld springen",
    unread: { one: "{n} ungelesene Nachricht", other: "{n} ungelesene Nachrichten" },
    connecting: "Verbindung wird aufgebaut…", reconnecting: "Verbindung wird wiederhergestellt…", online: "Verbunden",
    noNetwork: "Sie sind offline", retrying: "Offline, neuer Versuch läuft", stopped: "Nicht verbunden",
    offline: "Der Chat ist gerade nicht erreichbar. Was Sie schreiben, wird aufbewahrt und später gesendet.",
    tryNow: "Jetzt versuchen", tryAgain: "Erneut versuchen", discard: "Löschen",
    replaced: "Der Chat läuft in einem anderen Fenster weiter.", useHere: "Hier verwenden",
    forbidden: "Dieser Chat steht Ihnen nicht offen.", unexpected: "Der Dienst hat nicht wie erwartet geantwortet.",
    rateLimited: {
      one: "Das war viel in kurzer Zeit. In {n} Sekunde geht es weiter; nichts geht verloren.",
      other: "Das war viel in kurzer Zeit. In {n} Sekunden geht es weiter; nichts geht verloren.",
    },
    humanAnswers: "ein Mensch antwortet", botAnswers: "der Assistent antwortet",
    conversation: "Unterhaltung", messages: "Nachrichten", newMessages: "Neue Nachrichten",
    compose: "Nachricht schreiben", message: "Nachricht", send: "Senden", stop: "Stopp", stopAnswer: "Antwort anhalten",
    attach: "Datei anhängen", cannotAttach: "Dateien können in diesem Chat noch nicht gesendet werden. Bitte beschreiben Sie in Worten, was sie zeigen.",
    keys: "Eingabe sendet, Umschalt + Eingabe beginnt eine neue Zeile",
    left: { one: "noch {n} Zeichen", other: "noch {n} Zeichen" },
    sending: "Wird gesendet…", waiting: "Wartet auf die Verbindung", sent: "Gesendet", delivered: "Zugestellt", read: "Gelesen",
    notSent: "Nicht gesendet. {reason}", unconfirmed: "Der Chat hat sie nicht bestätigt.",
    refused: "Der Chat konnte diese Nachricht nicht annehmen.", kept: "Sie wartet seit mehr als einem Tag.",
    loadingOlder: "Frühere Nachrichten werden geladen…", olderFailed: "Frühere Nachrichten wurden nicht geladen.",
    newConversation: "Hier beginnt eine neue Unterhaltung", humanJoined: "Ein Mensch ist dazugekommen und antwortet ab hier",
    botAgain: "Der Assistent antwortet wieder", closed: "Diese Unterhaltung wurde beendet",
    reopened: "Diese Unterhaltung ist wieder offen", edited: "Bearbeitet", reactions: "Reaktionen", removed: "Diese Nachricht wurde entfernt",
    youSaid: "Sie:", latest: "Neueste Nachrichten",
    newCount: { one: "{n} neue Nachricht", other: "{n} neue Nachrichten" },
    choices: "Auswahl", suggested: "Antwortvorschläge", cards: "Karten", choose: "Auswählen",
    image: "Bild", file: "Datei", location: "Ort", notShown: "Diese Nachricht kann hier nicht angezeigt werden.",
    notLoaded: "Dieser Anhang wurde nicht geladen.", agent: "Berater", assistant: "Assistent",
    writing: "{name} schreibt", wasStopped: "Angehalten",
    interrupted: "Die Antwort wurde unterbrochen. Bitte fragen Sie noch einmal.", today: "Heute", yesterday: "Gestern",
  },
  fr: {
    title: "Discussion", greeting: "Comment pouvons-nous vous aider ?", placeholder: "Écrire un message",
    intro: "Posez votre question avec vos mots. La réponse s’affiche ici, et vous pouvez à tout moment demander une personne.",
    suggestions: ["Bonjour", "Où est ma commande ?", "Parler à une personne"],
    open: "Ouvrir la discussion", close: "Fermer la discussion", dismiss: "Fermer", skip: "Aller au champ de message",
    unread: { one: "{n} message non lu", many: "{n} de messages non lus", other: "{n} messages non lus" },
    connecting: "Connexion…", reconnecting: "Reconnexion…", online: "Connecté",
    noNetwork: "Vous êtes hors ligne", retrying: "Hors ligne, nouvel essai", stopped: "Non connecté",
    offline: "La discussion est injoignable pour le moment. Ce que vous écrivez est gardé et envoyé plus tard.",
    tryNow: "Essayer maintenant", tryAgain: "Réessayer", discard: "Supprimer",
    replaced: "La discussion continue dans une autre fenêtre.", useHere: "L’utiliser ici",
    forbidden: "Cette discussion ne vous est pas ouverte.", unexpected: "Le service n’a pas répondu comme prévu.",
    rateLimited: {
      one: "Beaucoup de messages en peu de temps. La discussion reprend dans {n} seconde ; rien n’est perdu.",
      other: "Beaucoup de messages en peu de temps. La discussion reprend dans {n} secondes ; rien n’est perdu.",
    },
    humanAnswers: "une personne répond", botAnswers: "l’assistant répond",
    conversation: "Conversation", messages: "Messages", newMessages: "Nouveaux messages",
    compose: "Écrire un message", message: "Message", send: "Envoyer", stop: "Arrêter", stopAnswer: "Arrêter la réponse",
    attach: "Joindre un fichier", cannotAttach: "L’envoi de fichiers n’est pas encore possible ici. Décrivez avec des mots ce qu’ils montrent.",
    keys: "Entrée envoie, Maj + Entrée commence une nouvelle ligne",
    left: { one: "{n} caractère restant", other: "{n} caractères restants" },
    sending: "Envoi…", waiting: "En attente de la connexion", sent: "Envoyé", delivered: "Remis", read: "Lu",
    notSent: "Non envoyé. {reason}", unconfirmed: "Le service ne l’a pas confirmé.",
    refused: "Ce message n’a pas pu être accepté.", kept: "Il attend depuis plus d’un jour.",
    loadingOlder: "Chargement des messages précédents…", olderFailed: "Les messages précédents n’ont pas été chargés.",
    newConversation: "Une nouvelle conversation commence ici", humanJoined: "Une personne a rejoint la conversation et répond à partir d’ici",
    botAgain: "L’assistant répond de nouveau", closed: "Cette conversation a été close",
    reopened: "Cette conversation est de nouveau ouverte", edited: "Modifié", reactions: "Réactions", removed: "Ce message a été supprimé",
    youSaid: "Vous :", latest: "Derniers messages",
    newCount: { one: "{n} nouveau message", other: "{n} nouveaux messages" },
    choices: "Choix", suggested: "Réponses suggérées", cards: "Cartes", choose: "Choisir",
    image: "Image", file: "Fichier", location: "Lieu", notShown: "Ce message ne peut pas être affiché ici.",
    notLoaded: "Cette pièce jointe n’a pas été chargée.", agent: "Conseiller", assistant: "Assistant",
    writing: "{name} écrit", wasStopped: "Arrêté",
    interrupted: "La réponse a été interrompue. Veuillez redemander.", today: "Aujourd’hui", yesterday: "Hier",
  },
  es: {
    title: "Chat", greeting: "¿En qué podemos ayudarle?", placeholder: "Escriba un mensaje",
    intro: "Pregunte con sus propias palabras. La respuesta aparece aquí mismo, y puede pedir hablar con una persona cuando quiera.",
    suggestions: ["Hola", "¿Dónde está mi pedido?", "Hablar con una persona"],
    open: "Abrir el chat", close: "Cerrar el chat", dismiss: "Cerrar", skip: "Ir al cuadro de mensaje",
    unread: { one: "{n} mensaje sin leer", other: "{n} mensajes sin leer" },
    connecting: "Conectando…", reconnecting: "Volviendo a conectar…", online: "Conectado",
    noNetwork: "No tiene conexión", retrying: "Sin conexión, reintentando", stopped: "No conectado",
    offline: "Ahora no podemos conectar con el chat. Lo que escriba se guarda y se enviará más tarde.",
    tryNow: "Probar ahora", tryAgain: "Reintentar", discard: "Eliminar",
    replaced: "El chat continúa en otra ventana.", useHere: "Usarlo aquí",
    forbidden: "Este chat no está abierto para usted.", unexpected: "El servicio no respondió como se esperaba.",
    rateLimited: {
      one: "Han sido muchos mensajes en poco tiempo. El chat sigue en {n} segundo; no se pierde nada.",
      other: "Han sido muchos mensajes en poco tiempo. El chat sigue en {n} segundos; no se pierde nada.",
    },
    humanAnswers: "responde una persona", botAnswers: "responde el asistente",
    conversation: "Conversación", messages: "Mensajes", newMessages: "Mensajes nuevos",
    compose: "Escribir un mensaje", message: "Mensaje", send: "Enviar", stop: "Parar", stopAnswer: "Parar la respuesta",
    attach: "Adjuntar un archivo", cannotAttach: "En este chat aún no se pueden enviar archivos. Describa con palabras lo que muestran.",
    keys: "Intro envía, Mayús + Intro empieza una línea nueva",
    left: { one: "queda {n} carácter", other: "quedan {n} caracteres" },
    sending: "Enviando…", waiting: "Esperando la conexión", sent: "Enviado", delivered: "Entregado", read: "Leído",
    notSent: "No enviado. {reason}", unconfirmed: "El chat no lo confirmó.",
    refused: "El chat no pudo aceptar este mensaje.", kept: "Lleva más de un día esperando.",
    loadingOlder: "Cargando mensajes anteriores…", olderFailed: "No se cargaron los mensajes anteriores.",
    newConversation: "Aquí empieza una conversación nueva", humanJoined: "Se ha unido una persona y responde desde aquí",
    botAgain: "El asistente vuelve a responder", closed: "Esta conversación se cerró",
    reopened: "Esta conversación está abierta de nuevo", edited: "Editado", reactions: "Reacciones", removed: "Este mensaje se eliminó",
    youSaid: "Usted:", latest: "Últimos mensajes",
    newCount: { one: "{n} mensaje nuevo", other: "{n} mensajes nuevos" },
    choices: "Opciones", suggested: "Respuestas sugeridas", cards: "Tarjetas", choose: "Elegir",
    image: "Imagen", file: "Archivo", location: "Ubicación", notShown: "Este mensaje no se puede mostrar aquí.",
    notLoaded: "Este adjunto no se cargó.", agent: "Agente", assistant: "Asistente",
    writing: "{name} está escribiendo", wasStopped: "Parado",
    interrupted: "La respuesta se interrumpió. Pregunte de nuevo.", today: "Hoy", yesterday: "Ayer",
  },
  ar: {
    title: "المحادثة", greeting: "كيف يمكننا مساعدتك؟", placeholder: "اكتب رسالة",
    intro: "اسأل بكلماتك. ستظهر الإجابة هنا مباشرة، ويمكنك طلب التحدث إلى شخص في أي وقت.",
    suggestions: ["مرحبًا", "أين طلبي؟", "التحدث إلى شخص"],
    open: "فتح المحادثة", close: "إغلاق المحادثة", dismiss: "إغلاق", skip: "الانتقال إلى حقل الرسالة",
    unread: {
      zero: "لا رسائل غير مقروءة", one: "رسالة واحدة غير مقروءة", two: "رسالتان غير مقروءتين",
      few: "{n} رسائل غير مقروءة", many: "{n} رسالة غير مقروءة", other: "{n} رسالة غير مقروءة",
    },
    connecting: "جارٍ الاتصال…", reconnecting: "جارٍ إعادة الاتصال…", online: "متصل",
    noNetwork: "أنت غير متصل بالإنترنت", retrying: "غير متصل، تجري المحاولة من جديد", stopped: "غير متصل",
    offline: "لا يمكن الوصول إلى المحادثة الآن. ما تكتبه محفوظ وسيُرسل لاحقًا.",
    tryNow: "حاول الآن", tryAgain: "أعد المحاولة", discard: "حذف",
    replaced: "تستمر المحادثة في نافذة أخرى.", useHere: "استخدمها هنا",
    forbidden: "هذه المحادثة غير متاحة لك.", unexpected: "لم تُجب الخدمة كما هو متوقع.",
    rateLimited: {
      one: "رسائل كثيرة في وقت قصير. تُستأنف المحادثة بعد ثانية واحدة؛ لن يضيع شيء.",
      two: "رسائل كثيرة في وقت قصير. تُستأنف المحادثة بعد ثانيتين؛ لن يضيع شيء.",
      few: "رسائل كثيرة في وقت قصير. تُستأنف المحادثة بعد {n} ثوانٍ؛ لن يضيع شيء.",
      other: "رسائل كثيرة في وقت قصير. تُستأنف المحادثة بعد {n} ثانية؛ لن يضيع شيء.",
    },
    humanAnswers: "يجيبك شخص", botAnswers: "يجيبك المساعد",
    conversation: "المحادثة", messages: "الرسائل", newMessages: "رسائل جديدة",
    compose: "كتابة رسالة", message: "رسالة", send: "إرسال", stop: "إيقاف", stopAnswer: "إيقاف الإجابة",
    attach: "إرفاق ملف", cannotAttach: "لا يمكن إرسال الملفات في هذه المحادثة بعد. يُرجى وصف محتواها بالكلمات.",
    keys: "مفتاح الإدخال يرسل، و Shift + الإدخال يبدأ سطرًا جديدًا",
    left: { one: "بقي حرف واحد", two: "بقي حرفان", few: "بقيت {n} أحرف", other: "بقي {n} حرفًا" },
    sending: "جارٍ الإرسال…", waiting: "في انتظار الاتصال", sent: "أُرسلت", delivered: "سُلّمت", read: "قُرئت",
    notSent: "لم تُرسل. {reason}", unconfirmed: "لم تؤكدها المحادثة.",
    refused: "تعذّر قبول هذه الرسالة.", kept: "تنتظر منذ أكثر من يوم.",
    loadingOlder: "جارٍ تحميل الرسائل السابقة…", olderFailed: "لم تُحمّل الرسائل السابقة.",
    newConversation: "تبدأ هنا محادثة جديدة", humanJoined: "انضم شخص وسيجيب من هنا",
    botAgain: "يجيب المساعد من جديد", closed: "أُغلقت هذه المحادثة",
    reopened: "هذه المحادثة مفتوحة من جديد", edited: "معدّلة", reactions: "التفاعلات", removed: "حُذفت هذه الرسالة",
    youSaid: "أنت:", latest: "أحدث الرسائل",
    newCount: {
      one: "رسالة جديدة", two: "رسالتان جديدتان", few: "{n} رسائل جديدة", other: "{n} رسالة جديدة",
    },
    choices: "الخيارات", suggested: "ردود مقترحة", cards: "البطاقات", choose: "اختر",
    image: "صورة", file: "ملف", location: "موقع", notShown: "لا يمكن عرض هذه الرسالة هنا.",
    notLoaded: "لم يُحمّل هذا المرفق.", agent: "الموظف", assistant: "المساعد",
    writing: "{name} يكتب", wasStopped: "أُوقفت",
    interrupted: "انقطعت الإجابة. يُرجى السؤال من جديد.", today: "اليوم", yesterday: "أمس",
  },
};

// The language asked for, by its first part; `auto` is the page's own, then the reader's.
function pickLanguage(asked) {
  const wishes = asked === "auto"
    ? [document.documentElement.lang, ...navigator.languages ?? []] : [asked];
  for (const wish of wishes) {
    const code = String(wish ?? "").toLowerCase().split("-")[0];
    if (Object.hasOwn(TEXTS, code)) return code;
  }
  return "en";
}

function speaker(language, overrides) {
  const plurals = new Intl.PluralRules(language);
  const number = new Intl.NumberFormat(language);
  return (key, values = {}) => {
    let text = overrides[key] ?? TEXTS[language][key] ?? TEXTS.en[key] ?? key;
    if (text !== null && typeof text === "object" && !Array.isArray(text)) {
      text = text[plurals.select(values.n)] ?? text.other;
    }
    if (typeof text !== "string") return text;
    return text.replace(/\{(\w+)\}/g, (_, name) =>
      typeof values[name] === "number" ? number.format(values[name]) : values[name] ?? "");
  };
}
