"use strict";(self.rspackChunkjupyter_durable=self.rspackChunkjupyter_durable||[]).push([[1],{23(e,r,a){var o=a(24),t=a.n(o),n=a(25),p=(a.n(n))()(t());p.push([e.id,`/* Panel */

.jp-durable-panel {
  display: flex;
  flex-direction: column;
  min-width: 220px;
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
}

.jp-durable-title {
  margin: 0;
  padding: 10px 12px 6px;
  font-size: var(--jp-ui-font-size0);
  font-weight: 600;
  letter-spacing: 0.08em;
  text-transform: uppercase;
  color: var(--jp-ui-font-color1);
}

.jp-durable-tools {
  display: flex;
  gap: 6px;
  padding: 2px 12px 8px;
  border-bottom: 1px solid var(--jp-border-color2);
}

.jp-durable-search,
.jp-durable-status {
  min-width: 0;
  height: 26px;
  box-sizing: border-box;
  padding: 0 6px;
  border: 1px solid var(--jp-border-color1);
  border-radius: 3px;
  background: var(--jp-layout-color0);
  color: var(--jp-ui-font-color0);
  font: inherit;
}

.jp-durable-search {
  flex: 1 1 100px;
}

.jp-durable-status {
  flex: 0 1 108px;
}

.jp-durable-lists {
  flex: 1 1 auto;
  overflow: hidden auto;
  padding-bottom: 12px;
}

.jp-durable-note {
  margin: 8px 12px;
  padding: 6px 8px;
  border-left: 3px solid var(--jp-warn-color1);
  background: var(--jp-layout-color2);
  line-height: 1.4;
}

.jp-durable-heading {
  margin: 12px 12px 4px;
  font-size: var(--jp-ui-font-size1);
  font-weight: 600;
}

.jp-durable-count,
.jp-durable-empty {
  color: var(--jp-ui-font-color2);
  font-weight: 400;
}

.jp-durable-empty {
  margin: 0 12px;
}

.jp-durable-list {
  list-style: none;
  margin: 0;
  padding: 0;
}

.jp-durable-head {
  display: flex;
  align-items: flex-start;
}

.jp-durable-run:hover,
.jp-durable-run:focus-within {
  background: var(--jp-layout-color2);
}

.jp-durable-row {
  flex: 1 1 auto;
  min-width: 0;
  display: grid;
  grid-template-columns: 18px minmax(0, 1fr) auto;
  column-gap: 4px;
  padding: 6px 12px;
  border: none;
  background: none;
  color: inherit;
  font: inherit;
  line-height: 1.45;
  text-align: left;
  cursor: pointer;
}

.jp-durable-row .jp-durable-facts {
  grid-column: 2 / 4;
}

.jp-durable-head > .jp-durable-button {
  margin: 7px 12px 0 0;
  flex: none;
}

.jp-durable-name {
  font-weight: 600;
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}

.jp-durable-word,
.jp-durable-facts {
  color: var(--jp-ui-font-color2);
}

.jp-durable-facts {
  overflow-wrap: anywhere;
}

.jp-durable-id {
  font-family: var(--jp-code-font-family);
  font-size: 0.92em;
  align-self: center;
}

.jp-durable-icon {
  display: inline-block;
  width: 16px;
  text-align: center;
}

.jp-mod-completed .jp-durable-state,
.jp-durable-badge[data-state="done"] .jp-durable-icon {
  color: var(--jp-success-color0, #2e7d32);
}

.jp-mod-failed .jp-durable-state,
.jp-durable-badge[data-state="failed"] .jp-durable-icon {
  color: var(--jp-error-color1);
}

.jp-mod-running .jp-durable-state,
.jp-durable-badge[data-state="running"] .jp-durable-icon {
  color: var(--jp-brand-color1);
}

.jp-mod-waiting .jp-durable-state,
.jp-mod-interrupted .jp-durable-state,
.jp-durable-wait .jp-durable-icon,
.jp-durable-line .jp-durable-icon,
.jp-durable-badge[data-state="waiting"] .jp-durable-icon,
.jp-durable-badge[data-state="resumable"] .jp-durable-icon {
  color: var(--jp-warn-color0, #b45309);
}

.jp-durable-actions {
  display: flex;
  flex-wrap: wrap;
  gap: 6px;
  padding: 0 12px 8px 34px;
}

.jp-durable-wait {
  margin: 4px 12px 8px;
  padding: 8px 10px;
  border: 1px solid var(--jp-border-color2);
  border-left: 3px solid var(--jp-warn-color1);
  border-radius: 3px;
  background: var(--jp-layout-color0);
}

.jp-durable-wait .jp-durable-actions {
  padding: 8px 0 0;
}

.jp-durable-prompt {
  line-height: 1.45;
  overflow-wrap: anywhere;
}

.jp-durable-value {
  max-height: 110px;
  overflow: auto;
  margin: 6px 0 0;
  padding: 5px 7px;
  border-radius: 3px;
  background: var(--jp-layout-color2);
  font-family: var(--jp-code-font-family);
  font-size: var(--jp-code-font-size);
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}

/* Buttons, here and in notebooks */

.jp-durable-button {
  padding: 2px 9px;
  border: 1px solid var(--jp-border-color1);
  border-radius: 3px;
  background: var(--jp-layout-color1);
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
  line-height: 1.5;
  cursor: pointer;
  white-space: nowrap;
}

.jp-durable-button:hover {
  background: var(--jp-layout-color3);
}

.jp-durable-button.jp-mod-primary {
  border-color: transparent;
  background: var(--jp-brand-color1, #1976d2);
  color: var(--jp-ui-inverse-font-color1, #fff);
}

.jp-durable-button.jp-mod-primary:hover {
  filter: brightness(0.92);
}

.jp-durable-button.jp-mod-plain {
  border-color: transparent;
  background: none;
}

[data-jp-theme-light="false"] .jp-durable-button.jp-mod-primary {
  background: var(--jp-brand-color2, #90caf9);
  color: #10151b;
}

.jp-durable-panel :focus-visible,
.jp-durable-banner :focus-visible,
.jp-durable-badge :focus-visible,
.jp-durable-waiting :focus-visible {
  outline: 2px solid var(--jp-brand-color1);
  outline-offset: 1px;
}

.jp-durable-row:focus-visible {
  outline-offset: -2px;
}

/* The notice above a notebook */

.jp-durable-banner {
  display: flex;
  flex-direction: column;
  background: var(--jp-layout-color2);
  color: var(--jp-ui-font-color1);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
}

.jp-durable-banner.lm-mod-hidden {
  display: none;
}

.jp-durable-line {
  display: flex;
  flex-wrap: wrap;
  align-items: center;
  gap: 4px 8px;
  min-height: 34px;
  padding: 3px 8px 3px 12px;
  box-sizing: border-box;
  border-left: 3px solid var(--jp-warn-color1);
  border-bottom: 1px solid var(--jp-border-color2);
}

.jp-durable-says {
  flex: 0 1 auto;
  min-width: 0;
  overflow-wrap: anywhere;
}

.jp-durable-line .jp-durable-says {
  margin-right: 8px;
}

.jp-durable-line .jp-mod-plain {
  margin-left: auto;
}

/* The badge below a durable cell's input */

.jp-durable-badge {
  display: flex;
  align-items: center;
  gap: 6px;
  min-height: 24px;
  padding: 2px 8px 2px calc(var(--jp-cell-prompt-width) + var(--jp-cell-collapser-width) + 6px);
  color: var(--jp-ui-font-color2);
  font-family: var(--jp-ui-font-family);
  font-size: var(--jp-ui-font-size1);
}

.jp-durable-badge .jp-durable-button {
  padding: 0 7px;
  font-size: var(--jp-ui-font-size0);
  line-height: 1.6;
}

/* Timelines */

.jp-durable-rendered {
  padding: 4px 0;
}

.jp-durable-tab {
  overflow: auto;
  padding: 10px;
  background: var(--jp-layout-color1);
}

.jp-durable-tab > .jp-durable-note:empty {
  display: none;
}

/* Status bar */

.jp-durable-waiting-button {
  height: 100%;
  padding: 0 6px;
  border: none;
  background: none;
  color: inherit;
  font: inherit;
  cursor: pointer;
}

@media (forced-colors: active) {
  .jp-durable-wait,
  .jp-durable-line {
    border-left-color: Highlight;
  }
}
`,""]),a.d(r,{},{A:p})},25(e){e.exports=function(e){var r=[];return r.toString=function(){return this.map(function(r){var a="",o=void 0!==r[5];return r[4]&&(a+="@supports (".concat(r[4],") {")),r[2]&&(a+="@media ".concat(r[2]," {")),o&&(a+="@layer".concat(r[5].length>0?" ".concat(r[5]):""," {")),a+=e(r),o&&(a+="}"),r[2]&&(a+="}"),r[4]&&(a+="}"),a}).join("")},r.i=function(e,a,o,t,n){"string"==typeof e&&(e=[[null,e,void 0]]);var p={};if(o)for(var i=0;i<this.length;i++){var l=this[i][0];null!=l&&(p[l]=!0)}for(var d=0;d<e.length;d++){var u=[].concat(e[d]);o&&p[u[0]]||(void 0!==n&&(void 0===u[5]||(u[1]="@layer".concat(u[5].length>0?" ".concat(u[5]):""," {").concat(u[1],"}")),u[5]=n),a&&(u[2]&&(u[1]="@media ".concat(u[2]," {").concat(u[1],"}")),u[2]=a),t&&(u[4]?(u[1]="@supports (".concat(u[4],") {").concat(u[1],"}"),u[4]=t):u[4]="".concat(t)),r.push(u))}},r}},24(e){e.exports=function(e){return e[1]}},17(e){var r=[];function a(e){for(var a=-1,o=0;o<r.length;o++)if(r[o].identifier===e){a=o;break}return a}function o(e,o){for(var t={},n=[],p=0;p<e.length;p++){var i=e[p],l=o.base?i[0]+o.base:i[0],d=t[l]||0,u="".concat(l," ").concat(d);t[l]=d+1;var c=a(u),s={css:i[1],media:i[2],sourceMap:i[3],supports:i[4],layer:i[5]};if(-1!==c)r[c].references++,r[c].updater(s);else{var b=function(e,r){var a=r.domAPI(r);return a.update(e),function(r){r?(r.css!==e.css||r.media!==e.media||r.sourceMap!==e.sourceMap||r.supports!==e.supports||r.layer!==e.layer)&&a.update(e=r):a.remove()}}(s,o);o.byIndex=p,r.splice(p,0,{identifier:u,updater:b,references:1})}n.push(u)}return n}e.exports=function(e,t){var n=o(e=e||[],t=t||{});return function(e){e=e||[];for(var p=0;p<n.length;p++){var i=a(n[p]);r[i].references--}for(var l=o(e,t),d=0;d<n.length;d++){var u=a(n[d]);0===r[u].references&&(r[u].updater(),r.splice(u,1))}n=l}}},19(e){var r={};e.exports=function(e,a){var o=function(e){if(void 0===r[e]){var a=document.querySelector(e);if(window.HTMLIFrameElement&&a instanceof window.HTMLIFrameElement)try{a=a.contentDocument.head}catch(e){a=null}r[e]=a}return r[e]}(e);if(!o)throw Error("Couldn't find a style target. This probably means that the value for the 'insert' parameter is invalid.");o.appendChild(a)}},21(e){e.exports=function(e){var r=document.createElement("style");return e.setAttributes(r,e.attributes),e.insert(r,e.options),r}},20(e,r,a){e.exports=function(e){var r=a.nc;r&&e.setAttribute("nonce",r)}},18(e){e.exports=function(e){if("u"<typeof document)return{update:function(){},remove:function(){}};var r=e.insertStyleElement(e);return{update:function(a){var o,t,n;o="",a.supports&&(o+="@supports (".concat(a.supports,") {")),a.media&&(o+="@media ".concat(a.media," {")),(t=void 0!==a.layer)&&(o+="@layer".concat(a.layer.length>0?" ".concat(a.layer):""," {")),o+=a.css,t&&(o+="}"),a.media&&(o+="}"),a.supports&&(o+="}"),(n=a.sourceMap)&&"u">typeof btoa&&(o+="\n/*# sourceMappingURL=data:application/json;base64,".concat(btoa(unescape(encodeURIComponent(JSON.stringify(n))))," */")),e.styleTagTransform(o,r,e.options)},remove:function(){var e;null===(e=r).parentNode||e.parentNode.removeChild(e)}}}},22(e){e.exports=function(e,r){if(r.styleSheet)r.styleSheet.cssText=e;else{for(;r.firstChild;)r.removeChild(r.firstChild);r.appendChild(document.createTextNode(e))}}},16(e,r,a){var o=a(17),t=a.n(o),n=a(18),p=a.n(n),i=a(19),l=a.n(i),d=a(20),u=a.n(d),c=a(21),s=a.n(c),b=a(22),f=a.n(b),j=a(23),x={};x.styleTagTransform=f(),x.setAttributes=u(),x.insert=l().bind(null,"head"),x.domAPI=p(),x.insertStyleElement=s(),t()(j.A,x),j.A&&j.A.locals&&j.A.locals}}]);