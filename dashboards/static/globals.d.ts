// What pages load as plain scripts.
declare const Plotly: {
  newPlot(place: HTMLElement, data: object[], layout: object, config?: object): Promise<unknown>;
  react(place: HTMLElement, data: object[], layout: object, config?: object): Promise<unknown>;
  restyle(place: HTMLElement, update: object, traces?: number[]): Promise<unknown>;
  relayout(place: HTMLElement, update: object): Promise<unknown>;
  downloadImage(place: HTMLElement | object, options: object): Promise<unknown>;
  animate(place: HTMLElement, frame: object, options: object): Promise<unknown>;
  update(place: HTMLElement, data: object, layout: object, traces?: number[]): Promise<unknown>;
};
declare const htmx: {
  ajax(verb: string, path: string, context: {target?: string | Element; swap?: string; source?: string | Element}): Promise<unknown>;
};
