"use strict";(self.rspackChunkjupyter_durable=self.rspackChunkjupyter_durable||[]).push([[2],{26(e,t,i){function s(e,t={},...i){let r=document.createElement(e);for(let[e,i]of Object.entries(t))null!=i&&!1!==i&&(e.startsWith("on")?r.addEventListener(e.slice(2),i):"class"===e?r.className=i:"text"===e?r.textContent=i:e in r&&"string"!=typeof i?r[e]=i:r.setAttribute(e,!0===i?"":String(i)));for(let e of i)e&&r.append(e);return r}i.r(t);var r=(e,t)=>s("button",{type:"button",...t},e),a=e=>s("span",{"aria-hidden":"true",text:e});function n(e,t){e.textContent!==t&&(e.textContent=t)}var o=0,l=e=>`${e}${++o}`;function d(e){return[s("code",{text:e}),r("Copy",{onclick:t=>h(e,t.currentTarget)})]}async function h(e,t){let i=!0;try{await navigator.clipboard.writeText(e)}catch{let r=s("textarea",{class:"away",text:e});t.after(r),r.select(),i=document.execCommand("copy"),r.remove(),t.focus()}let r=t.textContent;t.textContent=i?"Copied":"Select and copy it by hand",setTimeout(()=>t.textContent=r,1500)}var c=["failed","in_doubt","waiting","running","completed","cancelled"],p=["completed","failed","in_doubt","waiting","running","cancelled"],u={running:["▶","running"],waiting:["‖","waiting"],in_doubt:["?","in doubt"],completed:["✓","completed"],failed:["✗","failed"],cancelled:["■","cancelled"],interrupted:["■","interrupted"]},f={tool:"⚙",model:"✦",http:"⇄",mcp:"⬡",sleep:"☾",signal:"⚑",ask:"?",approval:"✋",run:"▣"},m=e=>u[e]||["•",e],g=class{el=s("div",{class:"away",role:"status","aria-live":"polite"});said="";at=0;say(e,t){let i=c.filter(t=>e.counts[t]).map(t=>`${e.counts[t]} ${m(t)[1]}`),s=`${e.name} ${m(e.status)[1]}`,r=`${s}: ${i.join(", ")}${t[0]?`. ${t[0].prompt}`:""}`;r===this.said||this.said.startsWith(s)&&Date.now()-this.at<=8e3||(this.said=r,this.at=Date.now(),n(this.el,r))}},w=class{constructor(e,t,i){this.source=e,this.model=t,this.came=i}source;model;came;catching=!1;wanted=new Set;timer;catchUp(){this.source.ask&&!this.catching&&(this.catching=!0,this.source.ask({type:"since",feed:this.model.feed,mark:this.model.mark}).catch(()=>{}).finally(()=>this.catching=!1))}texts(e){if(this.source.ask){for(let t of e)this.model.asked.add(t),this.wanted.add(t);clearTimeout(this.timer),this.timer=setTimeout(()=>this.send(),60)}}send(){let{asked:e}=this.model,t=[...this.wanted].slice(-100);for(let i of this.wanted)t.includes(i)||e.delete(i);this.wanted.clear(),this.source.ask?.({type:"texts",ns:t}).then(e=>{for(let t of e?.rows||[])this.model.add(t);this.came()}).catch(()=>setTimeout(()=>t.forEach(t=>e.delete(t)),3e3))}};function x(e,t,i){let s=window.devicePixelRatio||1;(e.width!==Math.round(t*s)||e.height!==Math.round(i*s))&&(e.width=Math.round(t*s),e.height=Math.round(i*s),e.style.width=`${t}px`,e.style.height=`${i}px`);let r=e.getContext("2d");return r.setTransform(s,0,0,s,0,0),r.clearRect(0,0,t,i),r}var b=class{constructor(e){this.box=e}box;known=null;get colours(){return this.known??=this.read()}forget(){this.known=null}read(){let e=getComputedStyle(this.box),t=t=>e.getPropertyValue(`--${t}`).trim();return{...Object.fromEntries([...c,"fg","quiet","line","on","bg"].map(e=>[e,t(e)||"#888"])),font:`${t("size")||"12px"} ${t("font")||"sans-serif"}`}}},v=[["d",86400,"h",3600],["h",3600,"min",60],["min",60,"s",1]];function y(e){if(!(e>=0))return"";if(e<.001)return`${(1e3*e).toFixed(1)} ms`;if(e<1)return`${Math.round(1e3*e)} ms`;if(e<60)return`${e.toFixed(1)} s`;let t=Math.floor(e);for(let[e,i,s,r]of v)if(t>=i){let a=Math.floor(t%i/r);return`${Math.floor(t/i)} ${e}${a?` ${a} ${s}`:""}`}return""}function k(e){return e?e>=.01?`$${e.toFixed(2)}`:`$${Number(e.toPrecision(2))}`:"$0"}function $(e){return e>=1e6?`${(e/1e6).toFixed(1)}M`:e>=1e4?`${Math.round(e/1e3)}k`:e>=1e3?`${(e/1e3).toFixed(1)}k`:String(e)}var M=e=>e.toLocaleString("en"),S=e=>String(e?.message||e),z={resume:"Run the cell again, or put this into a cell of its own:",fork:"Put this into a cell of its own; the fork's cell appears below it:",goto:"Put this into a cell of its own:"},O=class{constructor(e,t){this.source=e,this.model=t}source;model;note=s("div",{class:"note",hidden:!0});run(e,t){let i=this.model.run.id;if(this.send(e,t?{run:i,step:t}:{run:i}))return;let a=i.slice(0,13),n=`%durable fork ${a}${t?` --at ${t}`:""}`,o="fork"===e?n:`%durable ${e} ${a}${t?` ${t}`:""}`,l=r("✕",{class:"plain","aria-label":"Close",onclick:()=>this.note.hidden=!0});this.show(s("span",{text:`${z[e]} `}),...d(o),l)}open(e){return this.send("open",{run:e})}cancel(){let e=s("span",{role:"alert"}),t=()=>{n(e," Sent…"),this.source.ask?.({type:"cancel"}).then(()=>n(e," It ends at its next step.")).catch(t=>n(e,` ${S(t)}`))};this.show(s("span",{text:"End this run for good? What is recorded stays. "}),r("End it",{class:"danger",onclick:t}),r("Keep it",{onclick:()=>this.note.hidden=!0}),e)}send(e,t){return!!this.source.command?.(`jupyter-durable:${e}`,t)}show(...e){this.note.replaceChildren(...e),this.note.hidden=!1,this.note.querySelector("button")?.focus()}},j=(e,...t)=>Object.fromEntries(Object.entries(e).filter(([e])=>!t.includes(e)));function q(e,t,i=e,r="",a=0){var n;let o,d=function(e,t){for(let i=0;i<20&&e&&"object"==typeof e;i++){if("string"==typeof e.$ref&&e.$ref.startsWith("#/")){e={...function(e,t){let i=e;for(let e of t.slice(2).split("/"))i=i&&Object.hasOwn(i,e)?i[e]:void 0;return i}(t,e.$ref),...j(e,"$ref")};continue}let i=e.anyOf||e.oneOf||e.allOf;if(Array.isArray(i)){let t=i.filter(e=>e&&"null"!==e.type);if(1===t.length){let s=j(e,"anyOf","oneOf","allOf");e={...t[0],...s,nullable:t.length<i.length};continue}}if(Array.isArray(e.type)){let t=e.type.filter(e=>"null"!==e),i=1===t.length?t[0]:void 0;return{...e,type:i,nullable:t.length<e.type.length}}return e}return e||{}}(e,i),h="string"==typeof d.description?d.description:null,c={schema:d,id:l("f"),title:r||d.title||"Answer",help:null===h?null:s("span",{class:"quiet",text:` ${h}`}),given:void 0===t?d.default:t};return Array.isArray(d.enum)||"const"in d?function(e){let{schema:t,id:i,given:r}=e,a=t.enum||[t.const],n=s("select",{id:i});t.nullable&&n.append(s("option",{value:"-1",text:"(nothing)"})),a.forEach((e,t)=>{let i="string"==typeof e?e:JSON.stringify(e);n.append(s("option",{value:String(t),text:i}))});let o=a.findIndex(e=>JSON.stringify(e)===JSON.stringify(r));return o>=0&&(n.value=String(o)),A(e,n,()=>"-1"===n.value?null:a[Number(n.value)])}(c):"boolean"===d.type?function({id:e,title:t,help:i,given:r}){let a=s("input",{id:e,type:"checkbox",checked:!!r});return{el:s("div",{class:"field box"},a,s("label",{for:e},t,i)),read:()=>a.checked}}(c):"integer"===d.type||"number"===d.type?function(e){let{schema:t,id:i,title:r}=e,{minimum:a,maximum:n}=t,o=e.given,l="integer"===t.type,d=s("input",{id:i,type:"number",step:l?"1":"any",min:a,max:n});return null!=o&&(d.value=String(o)),A(e,d,()=>{let e=t.nullable||void 0!==t.default;if(""===d.value&&e)return void 0===o?null:t.default;let i=Number(d.value);if(""===d.value||!Number.isFinite(i))throw Error(`${r}: a number is needed`);if(l&&!Number.isInteger(i))throw Error(`${r}: a whole number is needed`);if(i<a||i>n)throw Error(`${r}: from ${a??"…"} to ${n??"…"}`);return i})}(c):"string"===d.type?function(e){let{schema:t,id:i,title:r,given:a}=e,n="string"==typeof a&&(a.length>60||a.includes("\n")),o="password"===t.format||t.writeOnly,l="date"===t.format?"date":o?"password":"text",d=n?s("textarea",{id:i,rows:"4"}):s("input",{id:i,type:l,autocomplete:"off"});return"string"==typeof a&&(d.value=a),A(e,d,()=>{let{value:e}=d,{minLength:i,maxLength:s}=t;if(t.nullable&&""===e&&null===a)return null;if(i&&e.length<i)throw Error(`${r}: at least ${i} characters`);if(s&&e.length>s)throw Error(`${r}: at most ${s} characters`);return e})}(c):"object"===d.type&&d.properties&&a<4?function(e,t,i,r){let{schema:a,title:n}=e,o=e.given&&"object"==typeof e.given?e.given:null,l=Object.entries(t).map(([e,t])=>{let s=(a.required||[]).includes(e),n=o&&Object.hasOwn(o,e)?o[e]:void 0;return{name:e,required:s,...q(t,n,i,`${e}${s?"":" (optional)"}`,r+1)}}),d=r?s("fieldset",{},s("legend",{text:n})):s("div",{class:"fields"});return d.append(...l.map(e=>e.el)),{el:d,read:()=>{let e={...o};for(let t of l){let i=t.read(),s={value:i,enumerable:!0,writable:!0,configurable:!0};if(void 0!==i)Object.defineProperty(e,t.name,s);else if(t.required)throw Error(`${t.name} is needed`)}return e}}}(c,d.properties,i,a):(o=s("textarea",{id:(n=c).id,rows:"4",class:"code",spellcheck:"false"}),void 0!==n.given&&(o.value=JSON.stringify(n.given,null,2)),A(n,o,()=>{if(""!==o.value.trim())try{return JSON.parse(o.value)}catch(e){throw Error(`${n.title}: not JSON (${e.message})`)}}))}function A({id:e,title:t,help:i},r,a){return{el:s("div",{class:"field"},s("label",{for:e},t,i),r),read:a}}var L=class{constructor(e){this.host=e}host;el=s("div",{class:"waits"});cards=new Map;draw(e){let t=new Set(e.map(e=>e.key));for(let[e,i]of this.cards)t.has(e)||(i.remove(),this.cards.delete(e));for(let t of e){if(this.cards.has(t.key))continue;let e=function(e,t){let i=s("p",{class:"result",role:"alert"}),o=s("div",{class:"more-form"}),h=l("w"),c=s("div",{class:`wait ${e.kind}`,role:"group","aria-labelledby":h}),p=function(e,{source:t,run:i},r,a){return(o,l,h)=>{let c=()=>d(function(e,t,i,s){let r="edit"===i?"approve":i,a=s?` '${s.replaceAll("'","'\\''")}'`:"supply"===r||"answer"===r||"signal"===r?" VALUE":"";return`jupyter durable ${r} ${t.slice(0,13)} ${e.step||e.key}${a}`}(e,i(),o,h));r.classList.add("sent"),n(a,"Sent…");let p=setTimeout(()=>{a.replaceChildren("The kernel is busy and has not taken it yet. In a terminal: ",...c())},2e3);(t.ask?t.ask({type:"decide",key:e.key,step:e.step??null,action:o,value:l,message:h||""}):Promise.reject(Error("this front end cannot decide"))).then(e=>n(a,e?.says||"Recorded: the run goes on.")).catch(e=>{r.classList.remove("sent"),a.replaceChildren(s("span",{class:"error",text:S(e)})," ",...c())}).finally(()=>clearTimeout(p))}}(e,t,c,i),u=function(e,t,i,s){let r=()=>q(e.schema||{},e.value),a=e=>q({type:"string",title:e},""),n=i=>{var s;return t("edit",(s=e.value,Object.fromEntries(Object.entries(i||{}).filter(([e,t])=>JSON.stringify(t)!==JSON.stringify(s?.[e])))))},o=e=>i=>t(e,void 0,i),l=e=>i=>t(e,i);return{approve:["Approve","primary",()=>t("approve")],reject:["Reject…","",()=>i("Reject",a("Why (the agent is told)"),o("reject"))],edit:["Edit arguments…","",()=>i("Approve with these",r(),n)],answer:["Answer","primary",()=>i("Answer",r(),l("answer"))],signal:["Send","primary",()=>i("Send",r(),l("signal"))],retry:["No: make the call","",()=>t("retry")],supply:["Yes: supply its result…","",()=>i("Supply",q({title:"Result, as JSON"},void 0),l("supply"))],fail:["Go on with an error…","",()=>i("Fail",a("What went wrong"),o("fail"))],raise:["Raise the budget…","primary",()=>i("Raise",r(),l("raise"))],cancel:["Cancel the run","",s]}}(e,p,(e,t,i)=>(function(e,t,i,a){let o=s("p",{class:"error",role:"alert"});e.replaceChildren(i.el,o,r(t,{class:"primary",onclick:()=>{try{n(o,""),a(i.read())}catch(e){n(o,e.message)}}})),e.querySelector("input, textarea, select")?.focus()})(o,e,t,i),t.cancel),f=s("div",{class:"actions"},...e.actions.map(e=>{let[t,i,s]=u[e]||[e,"",()=>p(e)];return r(t,{class:i,onclick:s})}));c.append(function(e,t){let i=e.until?` until ${new Date(1e3*e.until).toLocaleString()}`:"";return s("p",{id:t},a("‖ "),e.prompt,i?s("span",{class:"quiet",text:i}):null)}(e,h),...function(e,t){let i=[],a=e.step?t.step(e.step):null;if(a){let e=`${a.id} ${(a.call||a.name).slice(0,120)}`;i.push(r(e,{class:"link code",onclick:()=>t.open(a.n)}))}return"approval"===e.kind&&void 0!==e.value&&i.push(s("pre",{text:JSON.stringify(e.value,null,2),tabindex:"0"})),i}(e,t),f,o,i);let[m]=e.actions;if(1===e.actions.length&&("answer"===m||"signal"===m)){f.hidden=!0;let e=t.root.activeElement;u[m][2](),e?.focus()}return c}(t,this.host);this.cards.set(t.key,e),this.el.append(e)}this.el.hidden=!e.length}},C=/(`[^`\n]+`)|(\*\*[^*\n]+\*\*)|(\*[^*\s][^*\n]*\*)|\[([^\]\n]+)\]\(([^)\s]+)\)/g,E=/^\s*```/;function T(e){let t=s("div",{class:"md"}),i=e.split("\n"),r=null;for(let e=0;e<i.length;e++){let a=i[e];if(E.test(a)){let a=[];for(;++e<i.length&&!E.test(i[e]);)a.push(i[e]);t.append(s("pre",{text:a.join("\n"),tabindex:"0"})),r=null;continue}let n=/^(#{1,6})\s+(.*)/.exec(a),o=/^\s*(?:([-*+])|(\d+)[.)])\s+(.*)/.exec(a);if(n)t.append(N(s("p",{class:`h h${n[1].length}`}),n[2])),r=null;else if(o){let e=o[1]?"ul":"ol";r?.localName!==e&&t.append(r=s(e)),r.append(N(s("li"),o[3]))}else if(a.trim()){let e=/^>\s?(.*)/.exec(a);t.append(N(s(e?"blockquote":"p"),e?e[1]:a)),r=null}else r=null}return t}function N(e,t){let i=0;for(let r of t.matchAll(C)){let[a,n,o,l,d,h]=r;e.append(t.slice(i,r.index)),i=r.index+a.length,n?e.append(s("code",{text:n.slice(1,-1)})):o?e.append(s("strong",{text:o.slice(2,-2)})):l?e.append(s("em",{text:l.slice(1,-1)})):h&&/^https?:\/\//i.test(h)?(e.append(s("a",{href:h,target:"_blank",rel:"noopener noreferrer",text:d})),e.append(s("span",{class:"quiet",text:` (${h})`}))):e.append(a)}return e.append(t.slice(i)),e}var R=class{constructor(e){this.host=e}host;el=s("section",{class:"details","aria-label":"Step",hidden:!0});tail=null;drawn="";get there(){return!this.el.hidden}open(e,t=!1){let i,a,{source:o,model:l,viewpoint:d}=this.host,h=l.rows[e];if(!h)return;d.choose(e);let c=r("✕",{class:"plain","aria-label":"Close step",onclick:()=>this.close()});this.tail=s("pre",{class:"stream",tabindex:"0","aria-label":"Live output"});let p=s("dl",{},...(function(e,t){let{replays:i,tokens:s}=e;return[["kind",e.kind],["scope",t?.name||""],["began",new Date(1e3*e.at).toLocaleString()],["took",void 0!==e.took?y(e.took):""],["attempts",(e.attempts||1)>1?String(e.attempts):""],["replayed",i?`${i} time${i>1?"s":""}`:""],["effect",e.effect||""],["outcome given by",e.given||""],["model",e.model||""],["tokens",s?function([e,t,i]){return`${M(e)} in${i?` (${M(i)} cached)`:""}, ${M(t)} out`}(s):""],["price",void 0!==e.cost?k(e.cost):s?"unknown":""],["saved by replay",e.saved?k(e.saved):""]].filter(([,e])=>e)})(h,l.lanes.get(h.lane)).map(([e,t])=>s("div",{},s("dt",{text:e}),s("dd",{text:t}))));this.el.replaceChildren(this.head(h,c),p,this.tail,...(a=[(i="model"===h.kind)?["messages","Conversation",!0]:["arguments","Arguments",!0]],i&&a.push(["arguments","Request",!1]),"completed"===h.status&&a.push(["result","Result",!i]),"failed"===h.status&&a.push(["error","Error",!0]),h.output&&a.push(["output","Output",!1]),h.log&&h.log.length>=5&&a.push(["log","Log",!1]),a.map(([e,t,i])=>{var a,l,d,c,p;let u,f,m,g,w;return a=h,l=o,d=e,c=t,p=i,u=s("div",{class:"body"}),f=s("span",{class:"quiet"}),m=s("details",{},s("summary",{},`${c} `,f),u),g=e=>{if(!l.ask){let e="arguments"===d?a.call:a.says;u.replaceChildren(s("pre",{text:e||"Not kept in the notebook.",tabindex:"0"}));return}let t=setTimeout(()=>u.append(s("p",{class:"quiet slow",text:"The kernel is busy with a cell: this comes when it is free."})),1500);l.ask({type:"value",step:a.id,what:d,offset:e}).then(t=>{u.querySelector(".more")?.remove(),n(f,"none"===t.form?"":`${t.type}`),u.append(...function(e,t){if("image"===e.form&&/^image\/(png|jpeg|gif|webp)$/.test(e.mime))return[s("img",{src:`data:${e.mime};base64,${e.data}`,alt:`Picture of ${e.type}`})];if("table"===e.form)return[function({rows:e,columns:t}){let i=s("tbody",{},...e.map(e=>s("tr",{},...e.map(e=>s("td",{text:e}))))),r=(t||[]).map(e=>s("th",{scope:"col",text:e})),a=t?s("thead",{},s("tr",{},...r)):null;return s("div",{class:"scroll",tabindex:"0",role:"region","aria-label":"Table"},s("table",{},a,i))}(e)];if("messages"===e.form)return e.rows.map(([e,t])=>{let i,r;return i=e,r=t,s("div",{class:`message ${/^[a-z]+$/.test(i)?i:""}`},s("b",{text:i}),T(r))});if("text"===e.form){var i,a;let n,o,l=s("pre",{text:e.text,tabindex:"0"});return e.markdown&&!t?(i=e.text,a=l,n=T(i),a.hidden=!0,[o=r("Source",{class:"link",onclick:()=>{a.hidden=!a.hidden,n.hidden=!a.hidden,o.textContent=a.hidden?"Source":"Formatted"}}),n,a]):[l]}return[s("p",{class:"quiet",text:e.type||"nothing"})]}(t,e>0));let{next:i}=t;if(void 0!==i){let e="text"===t.form?"characters":"rows",s=`${M(t.size-i)} more ${e}`;u.append(r(s,{class:"more",onclick:()=>g(i)}))}}).catch(e=>u.append(s("p",{class:"error",text:S(e)}))).finally(()=>{clearTimeout(t),u.querySelectorAll(".slow").forEach(e=>e.remove())})},w=!1,m.addEventListener("toggle",()=>{m.open&&!w&&(w=!0,g(0))}),p&&(m.open=!0),m}))),this.el.hidden=!1,this.drawn=_(h),this.refresh(h),this.host.chosen(),t&&c.focus()}close(){this.el.hidden=!0,this.el.replaceChildren(),this.host.viewpoint.selected=-1,this.host.left(),this.host.chosen()}refresh(e){if(this.el.hidden||!this.tail)return;if(_(e)!==this.drawn&&"running"!==e.status)return void queueMicrotask(()=>this.open(e.n));let t=(e.log||[]).map(e=>`${new Date(1e3*e.at).toLocaleTimeString()}  ${e.text}`);e.text&&t.push(e.text),n(this.tail,t.join("\n")),this.tail.hidden=!t.length}head(e,t){let[i,n]=m(e.status),{command:o}=this.host,l=r("Fork from here",{onclick:()=>o("fork",e.id)}),d=r("Go to",{title:"The namespace as it was then",onclick:()=>o("goto",e.id)});return s("div",{class:"head"},s("span",{class:`badge ${e.status}`},a(i+"︎"),` ${n}`),s("strong",{text:`${e.id} ${e.name}`}),e.old?s("span",{class:"quiet",text:"left behind by a retry, an edit or a fork"}):null,s("span",{class:"buttons"},l,d,t))}},_=e=>`${e.status} ${e.attempts||1}`,F=class{search="";kind="";states=new Set;shown=null;toggle(e){this.states.delete(e)||this.states.add(e)}get lit(){return this.shown&&(this.search||this.kind||this.states.size)?new Set(this.shown):null}match({rows:e,leftOut:t,run:i}){let s=this.search.split(/\s+/).filter(Boolean),r=s.length||this.kind||this.states.size;if(!r&&!t)return this.shown=null,"";let a=[],n=0;for(let t of e)t&&(n+=1,this.matches(t,s)&&a.push(t.n));this.shown=a;let o=i?.steps??0,l=`${M(a.length)} of ${M(o)}`;return r?l:o>n?`the last ${l}`:""}matches(e,t){if(this.kind&&e.kind!==this.kind||this.states.size&&(!this.states.has(e.status)||e.old))return!1;if(!t.length)return!0;let i=`${e.call||""} ${e.says||""} ${e.model||""}`,s=`${e.id} ${e.name} ${e.kind} ${i}`.toLowerCase();return t.every(e=>s.includes(e))}},P=e=>({head:e,list:e,lanes:e,waits:e,filter:e}),D=class{constructor(e){this.draw=e}draw;frame=0;dirty=P(!0);schedule=(...e)=>{this.touch(...e),this.frame||(this.frame=requestAnimationFrame(()=>this.draw()))};touch(...e){for(let t of e)this.dirty[t]=!0}begin(){this.frame=0}take(){let{dirty:e}=this;return this.dirty=P(!1),e}end(){cancelAnimationFrame(this.frame)}},W=class{el;fill=s("div",{class:"fill",role:"presentation"});pool=s("div",{class:"pool",role:"rowgroup"});made=[];lines=null;constructor(e){let t=t=>{if(t.target!==this.el)return;let i=this.lines?.key(t.key);void 0!==i&&(t.preventDefault(),i>=0&&e(i))};this.el=s("div",{class:"grid",role:"grid",tabindex:"0",onkeydown:t},this.fill,this.pool)}watch(e){let{el:t}=this;t.addEventListener("scroll",()=>e(t.scrollTop+t.clientHeight>=t.scrollHeight-26),{passive:!0})}show(e){this.lines=e,this.pool.replaceChildren(),this.made=[],this.el.setAttribute("aria-label",e.label)}draw(e){let{lines:t,el:i}=this;if(!t)return;let{height:s,length:r}=t;this.resize(r,s),t.atEnd&&(i.scrollTop=r*s);let a=Math.max(0,Math.floor(i.scrollTop/s)-2),n=Math.min(i.clientHeight||420,420),o=Math.min(r,Math.ceil((i.scrollTop+n)/s)+2);for(;this.made.length<o-a;){let e=t.make();this.made.push(e),this.pool.append(e)}t.begin(),this.made.forEach((i,r)=>{let n=a+r;i.hidden=n>=o,n>=o||(i.style.transform=`translateY(${n*s}px)`,i.setAttribute("aria-rowindex",String(n+1)),t.fill(i,n,e))}),t.end()}reveal(e){let{lines:t,el:i}=this;if(!t)return;let s=t.placeOf(e)*t.height;s<i.scrollTop?i.scrollTop=s:s+t.height>i.scrollTop+i.clientHeight&&(i.scrollTop=s+t.height-i.clientHeight+2)}resize(e,t){let i=`${e*t}px`;this.fill.style.height!==i&&(this.fill.style.height=i);let s=`${Math.min(Math.max(e,1)*t+2,420)}px`;this.el.style.height!==s&&(this.el.style.height=s),this.el.hidden=!e,this.el.setAttribute("aria-rowcount",String(e))}},H=class{constructor(e){this.toggle=e}toggle;chips=s("div",{class:"chips",role:"group","aria-label":"Filter by state"});bar=s("div",{class:"meter","aria-hidden":"true"});chipOf=new Map;draw(e,t){this.bar.childNodes.length||this.bar.append(...p.map(e=>s("span",{class:e})));let i=c.reduce((t,i)=>t+e[i],0)||1;for(let s of c){let r=this.chip(s);n(r.figure,` ${M(e[s])}`),r.el.hidden=!e[s]&&!t.has(s),r.el.setAttribute("aria-pressed",String(t.has(s)));let a=this.bar.children[p.indexOf(s)];a.hidden=!e[s],a.style.flexGrow=String(e[s]/i)}}chip(e){let t=this.chipOf.get(e);if(t)return t;let[i,n]=m(e),o=r("",{class:`chip ${e}`,"aria-pressed":"false",onclick:()=>this.toggle(e)}),l={el:o,figure:s("b")};return o.append(a(i+"︎"),l.figure,` ${n}`),this.chipOf.set(e,l),this.chips.append(o),l}},J=class{constructor(e){this.open=e}open;el=s("div",{class:"relations"});drawn="";draw({parent:e,forks:t,error:i,log:r,line:a}){let n=JSON.stringify([e,t,i,r,a]);if(n===this.drawn)return;this.drawn=n;let o=({step:e})=>e?`at step ${e} `:"";this.el.replaceChildren(...i?[s("p",{class:"error",text:`✗ ${i}`})]:[],...e?[this.link(e,`forked ${o(e)}from`)]:[],...(t||[]).slice(0,5).map(e=>this.link(e,`${o(e)}continued as`)),...(r||[]).slice(-2).map(e=>s("span",{class:"quiet",text:e.text}))),this.el.hidden=!this.el.childNodes.length}link(e,t){let i=t=>this.open(e.id)||h(e.id,t.currentTarget);return s("span",{},`↱ ${t} `,r(`${e.name} ${e.id.slice(0,13)}`,{class:"link",onclick:i}),` (${m(e.status)[1]})`)}},I=class{resume;cancel;fork;el;badge=s("span",{class:"badge"});name=s("strong",{class:"name"});facts=s("span",{class:"facts"});constructor(e){this.resume=r("Resume",{class:"primary",onclick:()=>e.resume()}),this.cancel=r("Cancel",{onclick:()=>e.cancel()}),this.fork=r("Fork",{onclick:()=>e.fork()});let t=s("span",{class:"buttons"},this.resume,this.cancel,this.fork);this.el=s("div",{class:"title"},this.badge,this.name,this.facts,t)}draw(e,t,i){var s,r;let o,l,[d,h]=m(e.status);this.badge.className=`badge ${e.status}`,this.badge.textContent!==`${d}︎ ${h}`&&this.badge.replaceChildren(a(d+"︎"),` ${h}`),n(this.name,e.name);let c=e.notebook?`
${e.notebook}`:"";this.name.title=`run ${e.id}${c}${e.owner?`
${e.owner}`:""}`,n(this.facts,(s=e,r=t,o=s.sessions.reduce((e,[t,i])=>e+Math.max(0,(i??r)-t),0),l=[`${M(s.steps)} step${1===s.steps?"":"s"}`,y(o)],s.calls&&(l.push(`${$(s.tokens[0])} tokens in, ${$(s.tokens[1])} out`),l.push(s.cost||!s.unpriced?k(s.cost):"price unknown")),s.saved?l.push(`${k(s.saved)} saved by replay`):s.counts.replayed&&l.push(`${M(s.counts.replayed)} replayed`),void 0!==s.progress&&l.push(`${Math.round(100*s.progress)} %`),l).join(" \xb7 ")),this.resume.hidden=Z(e)||!!e.owner,this.cancel.hidden=Z(e)||!i}},Z=e=>"completed"===e.status||"cancelled"===e.status,B=class{el;title;chips;meter;relations;constructor(e,t){this.title=new I(e),this.meter=new H(t=>e.toggle(t)),this.relations=new J(t=>e.open(t)),this.chips=this.meter.chips,this.el=s("header",{},this.title.el,this.meter.bar,this.relations.el,t)}draw(e,t,i,s){this.title.draw(e,t,i),this.meter.draw(e.counts,s),this.relations.draw(e)}},K=class{gaps;parts=[];constructor(e,t){let i=e.length?e:[[t,t]],s=i.reduce((e,[i,s])=>e+Math.max((s??t)-i,.001),0),r=1-Math.min(.04*(i.length-1),.5),a=i.length>1?(1-r)/(i.length-1):0,n=0;for(let[e,o]of i){let i=Math.max(o??t,e+.001),l=(i-e)/s*r;this.parts.push({from:e,to:i,x:n,w:l}),n+=l+a}this.gaps=this.parts.slice(1).map((e,t)=>({x:e.x-a/2,seconds:e.from-this.parts[t].to}))}x(e){let t=this.parts;for(let i=t.length-1;i>=0;i--){let s=t[i];if(e>=s.from||0===i)return s.x+Math.max(0,Math.min(1,(e-s.from)/(s.to-s.from)))*s.w}return 0}worked(e){let t=0;for(let i of this.parts){if(e<i.x+i.w)return t+Math.max(0,e-i.x)/i.w*(i.to-i.from);t+=i.to-i.from}return t}at(e){for(let t of this.parts){let i=t.to-t.from;if(e<=i)return t.x+e/i*t.w;e-=i}return 1}},U=[0,1];function V([e,t],i,s){let r=Math.min(1,Math.max((t-e)*i,1e-5)),a=Math.max(0,Math.min(1-r,e+(t-e)*s-r*s));return[a,a+r]}var Y=[.001,.002,.005,.01,.02,.05,.1,.2,.5,1,2,5,10,15,30,60,120,300,600,1800,3600,7200,21600,86400],G=c.length,X=({status:e,took:t})=>`${m(e)[1]}${void 0!==t?`, ${y(t)}`:""}`,Q=["ArrowLeft","ArrowRight","ArrowUp","ArrowDown","Home","End"],ee=class{constructor(e,t,i,s,r){this.scale=e,this.zoom=t,this.width=i,this.now=s,this.updated=r}scale;zoom;width;now;updated;x(e){let[t,i]=this.zoom;return(e-t)/(i-t)*this.width}bar(e){let t=e.end??("running"===e.status||"waiting"===e.status?this.now:this.updated);return[this.x(this.scale.x(e.at)),this.x(this.scale.x(Math.max(t,e.at)))]}hit(e,t,i){let s=-1,r=5;for(let a of t){let t=i[a];if(!t)continue;let[n,o]=this.bar(t);if(e>=n&&e<=Math.max(o,n+3))return a;let l=Math.min(Math.abs(e-n),Math.abs(e-o));l<r&&([s,r]=[a,l])}return s}},et=class{constructor(e){this.host=e,e.grid.addEventListener("wheel",e=>this.wheel(e),{passive:!1})}host;label="Lanes";height=34;atEnd=!1;axis=s("canvas",{class:"axis","aria-hidden":"true"});scale=new K([],0);get length(){return this.host.model.order.length}make(){let{model:e,open:t}=this.host;return function({at:e,open:t}){let i=s("div",{class:"lane",role:"row"}),r=s("canvas",{"aria-hidden":"true"}),a=s("span",{class:"label",role:"rowheader"},s("span"),s("small"));i.append(a,s("span",{class:"track",role:"gridcell"},r,s("span",{class:"away"})));let n=({clientX:t})=>{let{left:s,width:a}=r.getBoundingClientRect();return e(Number(i.dataset.lane),t-s,a)};return r.addEventListener("click",e=>{let i=n(e);i&&t(i.n)}),r.addEventListener("mousemove",e=>{let t=n(e);r.style.cursor=t?"pointer":"",r.title=t?`${t.id} ${(t.call||t.name).slice(0,120)}
${X(t)}`:""}),i.id=l("r"),i}({at:(t,i,s)=>e.rows[this.track(s).hit(i,e.inLane.get(t)||[],e.rows)],open:t})}begin(){let{run:e,now:t}=this.host.model;e&&(this.scale=new K(e.sessions,e.owner?t:e.updated))}fill(e,t,i){let{grid:s,model:r,viewpoint:a}=this.host,o=r.order[t],l=e.dataset.lane,d=r.inLane.get(o)||[],h=r.rows[a.selected],c=h?.lane===o?h:null;!function(e,t,i,s){e.dataset.lane=String(t.id);let[r,a]=e.children;r.style.paddingLeft=`${6+10*Math.min(t.depth,8)}px`,n(r.children[0],`${t.depth?"↳ ":""}${t.name.split("/").pop()}`),n(r.children[1],M(i)),r.title=t.name+(t.step?` (inside step ${t.step})`:""),e.setAttribute("aria-selected",String(!!s)),n(a.children[1],s?`step ${s.id} ${s.name}, ${X(s)}`:`${i} steps`)}(e,r.lanes.get(o),d.length,c),c&&s.setAttribute("aria-activedescendant",e.id),(i||l!==String(o))&&this.drawLane(e.children[1].children[0],d)}end(){let{width:e}=this,t=x(this.axis,e,18);this.axis.style.marginLeft=`${this.left}px`,function(e,t,i,[s,r]){var a,n;let{scale:o,width:l}=i,d=[],h=(e,t)=>!d.some(([i,s])=>e<s&&t>i);for(let s of(e.font=t.font,e.textBaseline="middle",e.fillStyle=t.waiting,o.gaps)){let t=`⋯ ${y(s.seconds)} later`,r=e.measureText(t).width,a=Math.min(i.x(s.x)-r/2,l-r);!(a+r<0)&&!(s.seconds<.5)&&h(a,a+r)&&(e.fillText(t,Math.max(0,a),8),d.push([Math.max(0,a)-8,Math.max(0,a)+r+8]))}e.fillStyle=t.quiet;let c=o.worked(s),p=o.worked(r),u=(a=Math.max(p-c,1e-6),n=Math.max(2,l/90),Y.find(e=>a/e<=n)||86400*Math.ceil(a/n/86400));for(let t=Math.ceil(c/u)*u;t<=p+1e-9;t+=u){let s=i.x(o.at(t));e.fillRect(Math.round(s),13,1,5);let r=t?y(t).replace(".0 s"," s"):"0",a=e.measureText(r).width;!(s+3+a>l)&&h(s,s+3+a)&&e.fillText(r,s+3,8)}}(t,this.host.palette.colours,this.track(e),this.host.viewpoint.zoom)}placeOf(e){let{rows:t,order:i}=this.host.model;return i.indexOf(t[e]?.lane)}key(e){let{model:t,viewpoint:i,open:s}=this.host,r=t.rows[i.selected];if("Enter"===e||" "===e)r&&s(r.n,!0);else if("+"===e||"="===e)this.zoomIn();else if("-"===e)this.zoomOut();else{if("0"!==e)return function(e,t,{rows:i,inLane:s,order:r}){if(!Q.includes(e))return;let a=r.filter(e=>s.get(e)?.length);if(!a.length)return -1;if(!t)return s.get(a[0])[0];let n=s.get(t.lane),o=n.indexOf(t.n);if("ArrowLeft"===e)return n[Math.max(0,o-1)];if("ArrowRight"===e)return n[Math.min(n.length-1,o+1)];if("Home"===e)return n[0];if("End"===e)return n[n.length-1];let l=a.indexOf(t.lane)+("ArrowUp"===e?-1:1),d=s.get(a[Math.max(0,Math.min(a.length-1,l))]),h=e=>Math.abs(i[e].at-t.at);return d.reduce((e,t)=>h(t)<h(e)?t:e,d[0])}(e,r,t);this.setZoom(U)}return -1}zoomIn(){this.setZoom(V(this.host.viewpoint.zoom,.625,.5))}zoomOut(){this.setZoom(V(this.host.viewpoint.zoom,1.6,.5))}setZoom(e){this.host.viewpoint.zoom=e,this.host.moved()}get left(){return this.host.grid.clientWidth<=620?88:168}get width(){return Math.max(40,this.host.grid.clientWidth-this.left-8)}track(e){let{model:t,viewpoint:i}=this.host;return new ee(this.scale,i.zoom,e,t.now,t.run?.updated??0)}drawLane(e,t){let{model:i,viewpoint:s,filter:r,palette:a}=this.host,{width:n}=this,o=x(e,n,28),{colours:l}=a,{selected:d}=s;!function(e,t,i){let{pen:s,colours:r,track:a,lit:n,selected:o}=e,{width:l}=a;s.font=r.font,s.textBaseline="middle",function({pen:e,colours:t,track:i}){for(let s of(e.strokeStyle=t.line,i.scale.gaps)){let t=Math.round(i.x(s.x))+.5;t<0||t>i.width||(e.setLineDash([2,3]),e.beginPath(),e.moveTo(t,0),e.lineTo(t,34),e.stroke(),e.setLineDash([]))}}(e);let d=new Map,h=[];for(let e of t){let t=i[e];if(!t)continue;let[s,r]=a.bar(t);if(!(r<0)&&!(s>l))if(r-s<4&&e!==o){let i=Math.floor(s/2),r=d.get(i);r||d.set(i,r=[0,0,0,0,0,0,0]),r[!n||n.has(e)?c.indexOf(t.status):G]++}else h.push({row:t,x:s,end:r})}for(let[t,i]of d)!function({pen:e,colours:t},i,s){let r=s.reduce((e,t)=>e+t,0),a=3;s.forEach((s,n)=>{if(!s)return;let o=n<4?Math.max(3,s/r*22):25-a;e.fillStyle=t[c[n]??"line"],e.fillRect(2*i,a,r>1?2:1.5,Math.min(o,25-a)),a+=o})}(e,t,i);for(let{row:t,x:i,end:s}of h){let r=Math.max(i,-4);!function({pen:e,colours:t,lit:i,selected:s},r,a,n){let o=!i||i.has(r.n),l=r.n===s,d=t[r.status]||t.quiet,h=!!(r.taken||r.old||"cancelled"===r.status);e.save(),e.globalAlpha=o?r.old?.55:1:.15,e.beginPath(),e.roundRect(a+.5,3.5,Math.max(n-1,2),21,3),e.fillStyle=e.strokeStyle=d,h||e.fill(),e.lineWidth=l?2:1,l&&(e.strokeStyle=t.fg),e.stroke(),e.clip(),("in_doubt"===r.status||"waiting"===r.status)&&(function(e,t,i,s){e.strokeStyle=t,e.globalAlpha*=.45,e.lineWidth=3;for(let t=i-22;t<i+s;t+=9)e.beginPath(),e.moveTo(t,26),e.lineTo(t+22,2),e.stroke()}(e,h?d:t.bg,a,n),e.globalAlpha=o?1:.15),void 0!==r.progress&&(e.fillStyle=t.bg,e.globalAlpha*=.35,e.fillRect(a+n*r.progress,3,n,22),e.globalAlpha=o?1:.15),n>22&&(e.fillStyle=h?t.fg:t.on,e.fillText(function(e,t,i){let s="completed"===t.status?t.replays?"↻ ":"":`${m(t.status)[0]}︎ `,r=`${s}${t.name}`,a=r+(void 0!==t.took?`  ${y(t.took)}`:""),n=Math.floor(i/e.measureText(a).width*a.length);return n>=a.length?a:n>=r.length?r:n>3?`${r.slice(0,n-1)}…`:""}(e,r,n-(Math.max(a,0)-a)-10),Math.max(a,0)+6,14)),e.restore()}(e,t,r,Math.min(Math.max(s-r,3),l+8))}}({pen:o,colours:l,track:this.track(n),lit:r.lit,selected:d},t,i.rows)}wheel(e){let{grid:t,viewpoint:i}=this.host;if("lanes"!==i.mode||!(e.ctrlKey||e.metaKey||e.shiftKey))return;e.preventDefault();let s=t.getBoundingClientRect(),r=Math.max(1,s.width-this.left-8),a=Math.max(0,Math.min(1,(e.clientX-s.left-this.left)/r));e.shiftKey?this.setZoom(function([e,t],i){let s=Math.max(0,Math.min(1-(t-e),e+i*(t-e)));return[s,s+t-e]}(i.zoom,(e.deltaY||e.deltaX)/600)):this.setZoom(V(i.zoom,Math.exp(e.deltaY/300),a))}},ei=(e,...t)=>s("span",{class:e,role:"gridcell"},...t),es=class{constructor(e){this.host=e}host;label="Steps";height=26;bare=[];get length(){let{filter:e,model:t}=this.host;return e.shown?e.shown.length:t.rows.length}get atEnd(){let{viewpoint:e,model:t}=this.host;return e.follow&&!!t.run?.owner&&e.selected<0}make(){var e;let t;return e=e=>this.host.open(e),(t=s("div",{class:"row",role:"row",onclick:()=>e(Number(t.dataset.n))},ei("state",s("i",{"aria-hidden":"true"}),s("span",{class:"word"})),ei("id"),ei("what",s("i",{class:"kind","aria-hidden":"true"}),s("span",{class:"call"}),s("span",{class:"tags"})),ei("says"),ei("spent"),ei("took"))).id=l("r"),t}begin(){this.bare=[]}fill(e,t){let{grid:i,model:s,viewpoint:r,filter:a}=this.host,o=a.shown?a.shown[t]:t,l=s.rows[o];e.dataset.n=String(o);let d=o===r.selected;e.setAttribute("aria-selected",String(d)),d&&i.setAttribute("aria-activedescendant",e.id),function(e,t,i){var s,r,a;let o;if(e.row===t&&t?.status!=="running")return;e.row=t;let[l,d,h,c,p,u]=e.children;if(!t){for(let t of(e.className="row missing",[d,c,p,u]))n(t,"");n(h.children[1],"…");return}e.className=`row ${t.status}${t.old?" old":""}${t.taken?" taken":""}${t.replays?" replayed":""}`;let[g,w]=t.replays&&"completed"===t.status?["↻","replayed"]:m(t.status);n(l.children[0],g+"︎"),n(l.children[1],w),n(d,t.id);n(h.children[0],(f[t.kind]||"•")+"︎"),n(h.children[1],"model"===t.kind&&t.model?`${t.name} ${t.model}`:t.call||t.name),e.title="",n(h.children[2],[(s=t).replays&&"completed"!==s.status?"↻ replayed":"",s.taken?"↱ parent's":"",(s.attempts||1)>1?`attempt ${s.attempts}`:"","unsafe"===s.effect?"unsafe":"",s.given?"✎ given":"",s.old?"history":""].filter(Boolean).join("  ")),n(c,t.says??((o=t).text?o.text.slice(-200):o.log?.at(-1)?.text??"")),c.classList.toggle("tail",void 0===t.says),n(p,function({tokens:e,cost:t}){return e?`${$(e[0]+e[1])} tok${void 0!==t?` ${k(t)}`:""}`:""}(t)),n(u,(r=t,a=i,void 0!==r.took?y(r.took):"running"===r.status?y(Math.max(0,a-r.at)):"")),e.style.setProperty("--done",void 0!==t.progress?`${100*t.progress}%`:"0%")}(e,l,s.now),l&&void 0===l.call&&!s.asked.has(o)&&this.bare.push(o)}end(){this.bare.length&&this.host.texts(this.bare)}placeOf(e){let{shown:t}=this.host.filter;return t?t.indexOf(e):e}key(e){let{grid:t,viewpoint:i,filter:s}=this.host;if("Enter"===e||" "===e)return i.selected>=0&&this.host.open(i.selected,!0),-1;let r=this.length,a=i.selected<0?-1:this.placeOf(i.selected),n=Math.max(1,Math.floor(t.clientHeight/26)-1),o={ArrowDown:a+1,ArrowUp:a<0?r-1:a-1,PageDown:a+n,PageUp:a-n,Home:0,End:r-1}[e];if(void 0===o||!r)return;let l=Math.max(0,Math.min(r-1,o));return s.shown?s.shown[l]:l}},er=class{constructor(e){this.told=e}told;run=null;rows=[];waits=[];lanes=new Map;inLane=new Map;order=[];kinds=new Set;asked=new Set;feed="";mark=0;leftOut=0;skew=0;get now(){return Date.now()/1e3-this.skew}take(e){e.feed!==this.feed&&this.forget(e.feed);let t=!e.left_out||e.since>0,i=e.since>this.mark||!t;for(let t of e.lanes)this.lanes.set(t.id,t);for(let t of(e.lanes.length&&this.orderLanes(),e.rows))this.add(t);let s=this.isNew(e.run)&&this.takeRun(e);return i||(this.mark=Math.max(this.mark,e.mark)),this.leftOut=Math.max(0,e.run.steps-this.rows.length),{missed:i,waits:s}}add(e){let t=this.rows[e.n];t?void 0===e.call&&void 0!==t.call&&(e.call=t.call,void 0===e.says&&e.status===t.status&&(e.says=t.says)):(this.place(e),this.kinds.add(e.kind)),this.asked.delete(e.n),this.rows[e.n]=e,this.told(e)}forget(e){this.rows=[],this.lanes.clear(),this.inLane.clear(),this.asked.clear(),this.feed=e,this.mark=0}isNew(e){return e.updated>=(this.run?.updated??0)||e.id!==this.run?.id}takeRun(e){return this.run=e.run,this.skew=Date.now()/1e3-e.run.now,JSON.stringify(e.waits)!==JSON.stringify(this.waits)&&(this.waits=e.waits,!0)}place(e){let t=this.inLane.get(e.lane);t||this.inLane.set(e.lane,t=[]),t.push(e.n),t.length>1&&t[t.length-2]>e.n&&t.sort((e,t)=>e-t)}orderLanes(){let e=new Map;for(let t of this.lanes.values()){let i=this.lanes.has(t.parent)?t.parent:0;e.set(i,[...e.get(i)||[],t.id].sort((e,t)=>e-t))}this.order=[];let t=[...e.get(0)||[]].reverse();for(let i=t.pop();void 0!==i;i=t.pop())this.order.push(i),t.push(...[...e.get(i)||[]].reverse())}},ea=`
/* The style sheet of the timeline's shadow root. What comes later wins. */

/* Whose colours, by the names all others use. */

:host {
  display: block;
}
.box-all {
  --fg: #1f2328;
  --quiet: #59636e;
  --bg: #ffffff;
  --bg2: #f3f4f6;
  --line: #d1d9e0;
  --accent: #0b65c2;
  --on: #ffffff;
  --completed: #23692a;
  --failed: #b91c1c;
  --running: #0b65c2;
  --waiting: #9a5b00;
  --in_doubt: #9a3b8f;
  --cancelled: #6b7280;
  --interrupted: #6b7280;
  --font: system-ui, sans-serif;
  --mono: ui-monospace, Menlo, Consolas, monospace;
  --size: 13px;
  font-family: var(--font);
  font-size: var(--size);
  line-height: 1.4;
  color: var(--fg);
  background: var(--bg);
  border: 1px solid var(--line);
  border-radius: 6px;
  overflow: hidden;
  max-width: 100%;
  container-type: inline-size;
  text-align: left;
}
.box-all.dark {
  --fg: #e6edf3;
  --quiet: #9aa4af;
  --bg: #14181d;
  --bg2: #20262d;
  --line: #3b434c;
  --accent: #6cb0ff;
  --on: #10151b;
  --completed: #6cc270;
  --failed: #ff8a80;
  --running: #6cb0ff;
  --waiting: #f2b04b;
  --in_doubt: #e59ad9;
  --cancelled: #a3abb5;
  --interrupted: #a3abb5;
}
/* Variables of a front end count only in it: others carry ipywidgets' copy of Lab's, which is light by night. */
.box-all.jupyter {
  --fg: var(--jp-ui-font-color1);
  --quiet: var(--jp-ui-font-color2);
  --bg: var(--jp-layout-color1);
  --bg2: var(--jp-layout-color2);
  --line: var(--jp-border-color2);
  --font: var(--jp-ui-font-family, system-ui, sans-serif);
  --mono: var(--jp-code-font-family, ui-monospace, Menlo, Consolas, monospace);
  --size: var(--jp-ui-font-size1, 13px);
}
.box-all.vscode {
  --fg: var(--vscode-foreground);
  --quiet: var(--vscode-descriptionForeground, var(--vscode-foreground));
  --bg: var(--vscode-editor-background);
  --bg2: var(--vscode-sideBar-background, var(--vscode-editor-background));
  --line: var(--vscode-contrastBorder, var(--vscode-panel-border, color-mix(in srgb, currentColor 30%, transparent)));
  --font: var(--vscode-font-family, system-ui, sans-serif);
  --mono: var(--vscode-editor-font-family, ui-monospace, Menlo, Consolas, monospace);
  --size: var(--vscode-font-size, 13px);
}
/* Text and buttons. */

[hidden] {
  display: none !important;
}
.away {
  position: absolute;
  width: 1px;
  height: 1px;
  margin: -1px;
  overflow: hidden;
  clip-path: inset(50%);
  white-space: nowrap;
}
.quiet {
  color: var(--quiet);
}
.error {
  color: var(--failed);
}
.code,
code,
pre {
  font-family: var(--mono);
  font-size: 0.92em;
}
p {
  margin: 2px 0;
}
button {
  font: inherit;
  font-size: 0.95em;
  color: var(--fg);
  background: var(--bg);
  border: 1px solid var(--line);
  border-radius: 4px;
  padding: 2px 9px;
  cursor: pointer;
}
button:hover {
  background: var(--bg2);
}
button.primary {
  background: var(--accent);
  border-color: var(--accent);
  color: var(--on);
}
button.primary:hover {
  filter: brightness(1.1);
}
button.danger {
  color: var(--failed);
  border-color: var(--failed);
}
button.plain {
  border-color: transparent;
  background: none;
}
button.link {
  border: none;
  background: none;
  padding: 0;
  color: var(--accent);
  text-decoration: underline;
  text-align: left;
  overflow-wrap: anywhere;
}
button:focus-visible,
input:focus-visible,
select:focus-visible,
textarea:focus-visible,
.grid:focus-visible,
pre:focus-visible,
summary:focus-visible,
.scroll:focus-visible {
  outline: 2px solid var(--accent);
  outline-offset: 1px;
}
.grid:focus-visible {
  outline-offset: -2px;
}
/* The run. */

header {
  padding: 8px 10px 6px;
}
.title {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 4px 10px;
}
.name {
  overflow-wrap: anywhere;
}
.facts {
  color: var(--quiet);
  flex: 1 1 auto;
}
.badge {
  color: var(--fg);
  border: 1px solid currentColor;
  border-radius: 10px;
  padding: 0 8px;
  white-space: nowrap;
  font-size: 0.92em;
}
.badge.completed {
  color: var(--completed);
}
.badge.failed {
  color: var(--failed);
}
.badge.running {
  color: var(--running);
}
.badge.waiting {
  color: var(--waiting);
}
.badge.in_doubt {
  color: var(--in_doubt);
}
.badge.interrupted,
.badge.cancelled {
  color: var(--quiet);
}
.buttons {
  display: inline-flex;
  gap: 6px;
  margin-left: auto;
}
.meter {
  display: flex;
  gap: 1px;
  height: 4px;
  border-radius: 2px;
  overflow: hidden;
  background: var(--bg2);
  margin-top: 7px;
}
.meter span {
  flex: 0 1 0;
  min-width: 0;
  transition: flex-grow 0.3s;
}
.meter .completed {
  background: var(--completed);
}
.meter .failed {
  background: var(--failed);
}
.meter .running {
  background: var(--running);
}
.meter .waiting {
  background: var(--waiting);
}
.meter .in_doubt {
  background: var(--in_doubt);
}
.meter .cancelled {
  background: var(--cancelled);
}
.relations {
  display: flex;
  flex-wrap: wrap;
  gap: 2px 14px;
  margin-top: 5px;
  font-size: 0.95em;
}
.relations p {
  flex: 1 0 100%;
  margin: 0;
  overflow-wrap: anywhere;
}
.note {
  margin-top: 6px;
  padding: 6px 8px;
  background: var(--bg2);
  border-radius: 4px;
  display: flex;
  flex-wrap: wrap;
  gap: 4px 8px;
  align-items: center;
}
.note code,
.result code {
  background: var(--bg);
  border: 1px solid var(--line);
  border-radius: 3px;
  padding: 1px 5px;
  user-select: all;
  overflow-wrap: anywhere;
}
/* What people are to say. */

.waits {
  border-top: 1px solid var(--line);
}
.wait {
  padding: 8px 10px;
  border-left: 4px solid var(--waiting);
}
.wait + .wait {
  border-top: 1px solid var(--line);
}
.wait.doubt {
  border-left-color: var(--in_doubt);
}
.wait > p:first-child {
  font-weight: 600;
  overflow-wrap: anywhere;
}
.wait pre {
  max-height: 140px;
  overflow: auto;
  background: var(--bg2);
  padding: 6px;
  border-radius: 4px;
  margin: 4px 0;
}
.wait.sent .actions,
.wait.sent .more-form {
  opacity: 0.5;
  pointer-events: none;
}
.wait .result {
  display: flex;
  flex-wrap: wrap;
  gap: 4px 8px;
  align-items: center;
}
.actions {
  display: flex;
  flex-wrap: wrap;
  gap: 6px;
  margin-top: 6px;
}
.more-form:not(:empty) {
  margin-top: 8px;
  max-width: 560px;
}
/* Fields. */

.field {
  margin: 4px 0 8px;
}
.field label {
  display: block;
  margin-bottom: 2px;
}
.field.box {
  display: flex;
  gap: 6px;
}
.field.box label {
  margin: 0;
}
fieldset {
  border: 1px solid var(--line);
  border-radius: 4px;
  margin: 4px 0;
}
input,
select,
textarea {
  font: inherit;
  color: var(--fg);
  background: var(--bg);
  border: 1px solid var(--line);
  border-radius: 4px;
  padding: 2px 6px;
  max-width: 100%;
  box-sizing: border-box;
}
.field input:not([type="checkbox"]),
.field textarea {
  width: 100%;
}
/* How steps are looked at. */

.tools {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 6px;
  padding: 5px 10px;
  border-top: 1px solid var(--line);
  border-bottom: 1px solid var(--line);
  background: var(--bg2);
}
.tools input[type="search"] {
  width: 150px;
}
.tools select {
  max-width: 150px;
}
.chips {
  display: flex;
  flex-wrap: wrap;
  gap: 4px;
}
.chip {
  border-radius: 10px;
  padding: 0 8px;
  color: var(--fg);
}
.chip > span {
  color: var(--quiet);
}
.chip.failed > span {
  color: var(--failed);
}
.chip.completed > span {
  color: var(--completed);
}
.chip.running > span {
  color: var(--running);
}
.chip.waiting > span {
  color: var(--waiting);
}
.chip.in_doubt > span {
  color: var(--in_doubt);
}
.chip b {
  font-weight: 600;
}
button[aria-pressed="true"] {
  background: var(--bg);
  border-color: var(--accent);
  box-shadow: inset 0 0 0 1px var(--accent);
}
.right {
  margin-left: auto;
  display: inline-flex;
  gap: 8px;
}
.tabs {
  display: inline-flex;
}
.tabs button:first-child {
  border-radius: 4px 0 0 4px;
}
.tabs button:last-child {
  border-radius: 0 4px 4px 0;
  margin-left: -1px;
}
.zoom {
  display: inline-flex;
  gap: 3px;
}
/* Steps as lines. Heights are those of sizes.ts. */

.grid {
  position: relative;
  overflow: auto;
  overflow-x: hidden;
  overscroll-behavior: contain;
}
.pool {
  position: absolute;
  inset: 0 0 auto 0;
}
.row {
  position: absolute;
  left: 0;
  right: 0;
  height: 26px;
  display: grid;
  align-items: baseline;
  column-gap: 10px;
  padding: 0 10px;
  cursor: pointer;
  contain: layout style;
  grid-template-columns: 92px 52px minmax(140px, 1.25fr) minmax(80px, 1fr) 0 68px;
  white-space: nowrap;
  line-height: 26px;
}
.spends .row {
  grid-template-columns: 92px 52px minmax(140px, 1.25fr) minmax(80px, 1fr) 118px 68px;
}
.row > span {
  overflow: hidden;
  text-overflow: ellipsis;
}
.row:hover {
  background: var(--bg2);
}
.row[aria-selected="true"],
.lane[aria-selected="true"] {
  background: color-mix(in srgb, var(--accent) 14%, var(--bg));
}
.row i {
  font-style: normal;
  display: inline-block;
  width: 16px;
  margin-right: 3px;
  text-align: center;
}
.row .id {
  color: var(--quiet);
  font-family: var(--mono);
  font-size: 0.92em;
}
.row .what {
  display: flex;
  gap: 4px;
  align-items: baseline;
}
.row .kind {
  color: var(--quiet);
  flex: none;
}
.row .call {
  font-family: var(--mono);
  font-size: 0.92em;
  overflow: hidden;
  text-overflow: ellipsis;
  min-width: 0;
}
.row .tags {
  color: var(--quiet);
  flex: none;
  font-size: 0.88em;
  padding-left: 4px;
  white-space: pre;
}
.row .tags:empty {
  display: none;
}
.row .says {
  color: var(--quiet);
  font-family: var(--mono);
  font-size: 0.92em;
}
.row .says.tail {
  font-style: italic;
  direction: rtl;
  unicode-bidi: plaintext;
  text-align: left;
}
.row .spent,
.row .took {
  text-align: right;
  font-variant-numeric: tabular-nums;
  color: var(--quiet);
  font-size: 0.95em;
}
.row.completed .state {
  color: var(--completed);
}
.row.failed .state,
.row.failed .says {
  color: var(--failed);
}
.row.running .state {
  color: var(--running);
}
.row.waiting .state {
  color: var(--waiting);
}
.row.in_doubt .state {
  color: var(--in_doubt);
}
.row.cancelled .state {
  color: var(--quiet);
}
.row.in_doubt,
.row.waiting {
  background: repeating-linear-gradient(
    -45deg,
    transparent 0 6px,
    color-mix(in srgb, var(--in_doubt) 9%, transparent) 6px 12px
  );
}
.row.waiting {
  background: repeating-linear-gradient(
    -45deg,
    transparent 0 6px,
    color-mix(in srgb, var(--waiting) 11%, transparent) 6px 12px
  );
}
.row.old .call {
  text-decoration: line-through;
}
.row.old {
  opacity: 0.75;
}
.row.replayed,
.row.taken {
  border-left: 3px solid color-mix(in srgb, var(--accent) 55%, transparent);
  padding-left: 7px;
}
.row.taken {
  border-left-style: dashed;
}
.row.running::after {
  content: "";
  position: absolute;
  left: 0;
  bottom: 0;
  height: 2px;
  width: var(--done, 0%);
  background: var(--running);
}
.row.running .state i {
  animation: pulse 1.4s ease-in-out infinite;
}
@keyframes pulse {
  50% {
    opacity: 0.25;
  }
}
/* Scopes in time. Sizes are those of sizes.ts. */

.lane {
  position: absolute;
  left: 0;
  right: 0;
  height: 34px;
  display: flex;
  align-items: center;
}
.lane .label {
  width: 168px;
  flex: none;
  box-sizing: border-box;
  padding-right: 8px;
  display: flex;
  gap: 6px;
  align-items: baseline;
  overflow: hidden;
  white-space: nowrap;
}
.lane .label span {
  overflow: hidden;
  text-overflow: ellipsis;
}
.lane .label small {
  color: var(--quiet);
  margin-left: auto;
}
.lane .track {
  flex: 1;
  overflow: hidden;
  position: relative;
}
.lane canvas {
  display: block;
}
.lane + .lane {
  border-top: 1px solid color-mix(in srgb, var(--line) 55%, transparent);
}
.axis {
  display: none;
}
.in-lanes .axis {
  display: block;
}
.blank {
  padding: 10px;
}
/* One step in full, and Markdown. */

.details {
  border-top: 2px solid var(--line);
  padding: 8px 10px 10px;
  max-height: 440px;
  overflow: auto;
}
.details .head {
  display: flex;
  flex-wrap: wrap;
  gap: 4px 10px;
  align-items: center;
}
.details .head strong {
  overflow-wrap: anywhere;
}
dl {
  display: flex;
  flex-wrap: wrap;
  gap: 2px 18px;
  margin: 6px 0;
}
dl div {
  display: flex;
  gap: 6px;
}
dl dt {
  color: var(--quiet);
}
dl dd {
  margin: 0;
  overflow-wrap: anywhere;
}
.details details {
  border-top: 1px solid var(--line);
  padding: 4px 0;
}
summary {
  cursor: pointer;
  font-weight: 600;
}
summary .quiet {
  font-weight: 400;
}
.details pre,
.md pre {
  margin: 4px 0;
  padding: 6px 8px;
  background: var(--bg2);
  border-radius: 4px;
  white-space: pre-wrap;
  overflow-wrap: anywhere;
  max-height: 300px;
  overflow: auto;
}
.stream {
  border-left: 3px solid var(--running);
}
.scroll {
  overflow: auto;
  max-height: 300px;
}
table {
  border-collapse: collapse;
  font-size: 0.95em;
}
td,
th {
  border: 1px solid var(--line);
  padding: 1px 8px;
  text-align: left;
  white-space: pre;
  max-width: 360px;
  overflow: hidden;
  text-overflow: ellipsis;
}
thead th {
  position: sticky;
  top: 0;
  background: var(--bg2);
}
img {
  max-width: 100%;
  max-height: 320px;
  background: #fff;
}
.message {
  margin: 4px 0;
  padding: 4px 8px;
  border-left: 3px solid var(--line);
}
.message.assistant {
  border-left-color: var(--accent);
}
.message b {
  color: var(--quiet);
  font-weight: 600;
  font-size: 0.92em;
}
.md .h {
  font-weight: 700;
}
.md .h1 {
  font-size: 1.25em;
}
.md .h2 {
  font-size: 1.12em;
}
.md ul,
.md ol {
  margin: 2px 0;
  padding-left: 22px;
}
.md blockquote {
  margin: 2px 0;
  padding-left: 8px;
  border-left: 3px solid var(--line);
  color: var(--quiet);
}
.md p {
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}
.md a {
  color: var(--accent);
}
.md code {
  background: var(--bg2);
  padding: 0 3px;
  border-radius: 3px;
}
/* Where there is little room, or nothing should move. The widths are those of sizes.ts. */

@container (max-width: 760px) {
  .spends .row {
    grid-template-columns: 92px 52px minmax(140px, 1.25fr) minmax(80px, 1fr) 0 68px;
  }
  .row .spent {
    visibility: hidden;
  }
}
@container (max-width: 620px) {
  .row,
  .spends .row {
    grid-template-columns: 22px minmax(90px, 1fr) minmax(0, 0.7fr) 58px;
  }
  .row .id,
  .row .spent {
    display: none;
  }
  .row .word {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
  }
  .tools input[type="search"] {
    width: 110px;
  }
  .lane .label {
    width: 88px;
  }
  .chip {
    padding: 0 6px;
    font-size: 0.92em;
  }
  .buttons {
    margin-left: 0;
  }
}
@container (max-width: 420px) {
  .row,
  .spends .row {
    grid-template-columns: 22px minmax(0, 1fr) 58px;
  }
  .row .says {
    display: none;
  }
  .row .tags {
    display: none;
  }
}
.calm * {
  animation: none !important;
  transition: none !important;
}
@media (prefers-reduced-motion: reduce) {
  * {
    animation: none !important;
    transition: none !important;
  }
}
@media (forced-colors: active) {
  .meter span {
    forced-color-adjust: none;
  }
}
`,en=["data-jp-theme-light","data-jp-theme-name","data-vscode-theme-kind","data-theme","class","theme"],eo=class{el;search;kind;list;lanes;zoom;matches=s("span",{class:"quiet matches"});offered=0;constructor(e,t){this.search=s("input",{type:"search",placeholder:"Search steps","aria-label":"Search steps",oninput:t=>e.search(t.target.value.toLowerCase())});let i=s("option",{value:"",text:"All kinds"});this.kind=s("select",{"aria-label":"Kind of step",onchange:t=>e.kind(t.target.value)},i),this.list=r("List",{"aria-pressed":"true",onclick:()=>e.mode("list")}),this.lanes=r("Lanes",{"aria-pressed":"false",onclick:()=>e.mode("lanes")}),this.zoom=s("span",{class:"zoom",hidden:!0},r("−",{"aria-label":"Zoom out",onclick:()=>e.zoomOut()}),r("+",{"aria-label":"Zoom in",onclick:()=>e.zoomIn()}),r("Fit",{"aria-label":"Show the whole time",onclick:()=>e.zoomFit()}));let a=s("span",{class:"tabs",role:"group","aria-label":"View"},this.list,this.lanes),n=s("span",{class:"right"},this.zoom,a);this.el=s("div",{class:"tools"},this.search,this.kind,t,this.matches,n)}offer(e){if(e.size!==this.offered){for(let t of[...e].slice(this.offered))this.kind.append(s("option",{value:t,text:t}));this.offered=e.size}}tell(e){n(this.matches,e)}show(e){this.list.setAttribute("aria-pressed",String("list"===e)),this.lanes.setAttribute("aria-pressed",String("lanes"===e)),this.zoom.hidden="lanes"!==e}focus(){this.search.focus()}},el=class{mode="list";selected=-1;follow=!0;zoom=U;choose(e){this.selected=e,this.follow=!1}},ed=class{constructor(e,t){this.source=t;let i=e.shadowRoot||e.attachShadow({mode:"open"});e.setAttribute("data-lm-suppress-shortcuts","true");let{model:r,viewpoint:a,filter:n,palette:o}=this,{schedule:l}=this.frames,d=(e,t)=>this.open(e,t),h=()=>this.grid.focus({preventScroll:!0}),c=(e,t)=>this.command(e,t),p=()=>this.commands.cancel();this.asking=new w(t,r,()=>l("list")),this.commands=new O(t,r),this.header=new B({resume:()=>c("resume"),cancel:p,fork:()=>c("fork"),toggle:e=>{n.toggle(e),l("head","filter","list","lanes")},open:e=>this.commands.open(e)},this.commands.note),this.decisions=new L({source:t,root:i,run:()=>r.run.id,step:e=>r.rows.findLast(t=>t&&t.id===e),open:d,cancel:p}),this.lines=new W(e=>this.select(e));let{grid:u}=this;this.list=new es({grid:u,model:r,viewpoint:a,filter:n,texts:e=>this.asking.texts(e),open:d}),this.lanes=new et({grid:u,model:r,viewpoint:a,filter:n,palette:o,moved:()=>l("lanes"),open:d}),this.details=new R({source:t,model:r,viewpoint:a,command:c,chosen:()=>l("list","lanes"),left:h}),this.toolbar=new eo({search:e=>this.narrow({search:e}),kind:e=>this.narrow({kind:e}),mode:e=>this.show(e),zoomIn:()=>this.lanes.zoomIn(),zoomOut:()=>this.lanes.zoomOut(),zoomFit:()=>this.lanes.setZoom(U)},this.header.chips),this.lines.show(this.list),this.box.append(this.header.el,this.decisions.el,this.toolbar.el,this.lanes.axis,u),this.box.append(this.blank,this.details.el,this.announcer.el),i.replaceChildren(s("style",{text:ea}),this.box),this.box.addEventListener("keydown",e=>this.key(e));let f=this.watch(),m=t.subscribe(e=>this.take(e));this.end=()=>{m(),f(),i.replaceChildren()}}source;box=s("div",{class:"box-all"});blank=s("p",{class:"blank quiet",text:"Waiting for the first step…"});viewpoint=new el;filter=new F;palette=new b(this.box);announcer=new g;frames=new D(()=>this.draw());model=new er(e=>{e.n===this.viewpoint.selected&&this.details.refresh(e)});queue=[];asking;commands;header;decisions;toolbar;lines;list;lanes;details;end;get rows(){return this.model.rows}get run(){return this.model.run}get feed(){return this.model.feed}get mark(){return this.model.mark}get grid(){return this.lines.el}get resume(){return this.header.title.resume}get cancel(){return this.header.title.cancel}get fork(){return this.header.title.fork}open(e,t=!1){this.details.open(e,t)}command(e,t){this.commands.run(e,t)}setZoom(e,t){this.lanes.setZoom([e,t])}draw(){for(let e of(this.frames.begin(),this.queue.splice(0)))this.apply(e);let{model:e}=this;if(!e.run)return;let t=this.frames.take(),i="lanes"===this.viewpoint.mode;this.toolbar.offer(e.kinds),t.filter&&this.toolbar.tell(this.filter.match(e)),t.head&&this.drawHead(e.run),t.waits&&this.decisions.draw(e.waits),(t.list||t.filter||i&&t.lanes)&&this.lines.draw(t.lanes||t.filter)}dispose(){this.end()}watch(){let{viewpoint:e,model:t}=this,{schedule:i}=this.frames;this.lines.watch(t=>{e.follow=t,i("list")});let s=new ResizeObserver(()=>i("list","lanes"));s.observe(this.grid);let r=function(e,t){let i=()=>{let{home:i,dark:s,calm:r}=function(){let e,{body:t,documentElement:i}=document,s=t.classList.contains("vscode-reduce-motion"),r=t.dataset.jpThemeLight;if(r)return{home:"jupyter",dark:"false"===r,calm:s};let a=t.dataset.vscodeThemeKind||["vscode-dark","vscode-light","vscode-high-contrast"].find(e=>t.classList.contains(e));if(a)return{home:"vscode",dark:"vscode-dark"===a||"vscode-high-contrast"===a,calm:s};let n=i.getAttribute("theme");return"dark"===n||"light"===n?{home:"",dark:"dark"===n,calm:s}:{home:"",dark:!!((e=[t,i].map(e=>/rgba?\((\d+), (\d+), (\d+)(?:, ([\d.]+))?/.exec(getComputedStyle(e).backgroundColor)).find(e=>e&&"0"!==e[4]))&&Number(e[1])+Number(e[2])+Number(e[3])<300),calm:s}}();for(let[t,a]of Object.entries({dark:s,calm:r,jupyter:"jupyter"===i,vscode:"vscode"===i}))e.classList.toggle(t,a);t()},s=new MutationObserver(i);for(let e of[document.body,document.documentElement])s.observe(e,{attributes:!0,attributeFilter:en});return i(),()=>s.disconnect()}(this.box,()=>{this.palette.forget(),i("list","lanes")}),a=setInterval(()=>{let s=t.run?.status==="running"||t.waits.some(e=>e.until);t.run&&s&&i("head","lanes"===e.mode?"lanes":"head")},500);return()=>{clearInterval(a),this.frames.end(),s.disconnect(),r()}}take(e){e&&1===e.v&&(this.queue.push(e),this.frames.schedule())}apply(e){let{missed:t,waits:i}=this.model.take(e);i&&this.frames.touch("waits"),t&&this.asking.catchUp(),this.frames.touch("head","list","lanes","filter")}drawHead(e){let{model:t}=this;this.header.draw(e,t.now,!!this.source.ask,this.filter.states),this.box.classList.toggle("spends",e.calls>0),this.blank.hidden=t.rows.length>0,n(this.blank,Z(e)||!e.owner?"No steps.":"Waiting for the first step…"),this.announcer.say(e,t.waits)}narrow(e){Object.assign(this.filter,e),this.frames.schedule("filter","list","lanes")}show(e){this.viewpoint.mode=e,this.toolbar.show(e),this.lines.show("lanes"===e?this.lanes:this.list),this.box.classList.toggle("in-lanes","lanes"===e),this.frames.schedule("head","list","lanes")}key(e){"/"!==e.key||e.target.matches("input, textarea, select")?"Escape"===e.key&&this.details.there&&(this.details.close(),e.preventDefault()):(e.preventDefault(),this.toolbar.focus()),e.stopPropagation()}select(e){this.viewpoint.choose(e),this.lines.reveal(e),this.frames.schedule("list","lanes"),this.details.there&&this.open(e)}};function eh(e,t){let i=new ed(e,t);return{timeline:i,dispose:()=>i.dispose()}}function ec({model:e,el:t}){var i,s;let r,a,n,o,l,d=t.appendChild(document.createElement("div")),h=eh(d,(i=e,s=d,r=new Map,a=0,n=()=>{},o=e=>{if(e?.type==="page")n(e.page);else if(e?.type==="reply"){let t=r.get(e.id);r.delete(e.id),e.error?t?.reject(Error(e.error)):t?.resolve(e.value)}},l=()=>{let e=i.get("snapshot");e&&e.run&&n(e)},{subscribe:e=>(n=e,i.on("msg:custom",o),i.on("change:snapshot",l),l(),i.send({type:"since",id:++a,feed:"",mark:0}),()=>{i.off("msg:custom",o),i.off("change:snapshot",l)}),ask:e=>{let t={run:i.get("run"),request:e,result:void 0};return"since"!==e.type&&ep(s,"jupyter-durable:ask",t)?Promise.resolve(t.result):new Promise((t,s)=>{let n=++a;r.set(n,{resolve:t,reject:s}),i.send({...e,id:n})})},command:(e,t)=>ep(s,"jupyter-durable:command",{id:e,args:t})}));return()=>h.dispose()}function ep(e,t,i){let s=new CustomEvent(t,{bubbles:!0,composed:!0,cancelable:!0,detail:i});return!e.dispatchEvent(s)}i.d(t,{},{default:{render:ec},form:q,markdown:T,money:k,mount:eh,render:ec,span:y,still:function(e){return{subscribe:t=>(t(e),()=>{})}}})}}]);